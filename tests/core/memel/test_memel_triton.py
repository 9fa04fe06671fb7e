"""MEmeL as Triton kernels does what it does in C: the same picks, and the same numbers."""

import math
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nowcast import MEmeL
from nowcast.core.memel import fused
from nowcast.core.memel.neurons import RunningStatistics
from nowcast.core.system.distributed import Ranks
from tests import ROOT
from tests.core.ranks import in_ranks
from tests.triton_kernels import DEVICE, kernels

triton_memel = kernels(fused.ON_GPU)
if not fused.available:
    pytest.skip("_memel is not built: no C compiler", allow_module_level=True)

# The interpreter computes with numpy, which warns of what a GPU does in silence.
pytestmark = pytest.mark.filterwarnings("ignore:(overflow|invalid value|divide by zero)")

CPU = torch.device("cpu")
BF16 = {"rtol": 2**-7, "atol": 1e-6}  # Triton's interpreter cuts bits off, where a GPU rounds
FP32 = {"rtol": 1e-6, "atol": 1e-6}


class Both:
    """The same layer twice, one of them done in Triton.

    What each call has done is compared: values, picks, scale, gradient and statistics.
    """

    def __init__(self, patch: pytest.MonkeyPatch, shape: tuple[int, ...], **settings: Any) -> None:
        self._patch = patch
        self.layers = [MEmeL(shape, **settings).to(device) for device in (DEVICE, CPU)]
        self.seen: list[list[tuple[Tensor | None, Tensor]]] = [[], []]
        for layer, seen in zip(self.layers, self.seen, strict=True):
            layer.wants_scale = True
            layer.observer = lambda scale, picks, seen=seen: seen.append((scale, picks))

    def __call__(self, values: Tensor, upstream: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Output and gradient of the one in Triton."""
        outputs, gradients = [], []
        for layer, on_gpu in zip(self.layers, (triton_memel, None), strict=True):
            self._patch.setattr(fused, "on_gpu", lambda device, on_gpu=on_gpu: on_gpu)
            device = layer.running_mean.device
            leaf = values.to(device, copy=True).requires_grad_()
            passed = leaf * 1 if layer.inplace else leaf
            output = layer(passed)
            assert output.stride() == values.stride()
            given = torch.ones_like(values) if upstream is None else upstream
            output.backward(given.to(device))
            outputs.append(output.detach().cpu())
            gradients.append(leaf.grad.cpu())
        near = BF16 if values.dtype is torch.bfloat16 else FP32
        torch.testing.assert_close(*outputs, **near, equal_nan=True)
        torch.testing.assert_close(*gradients, **near, equal_nan=True)
        changed = [output != values for output in outputs]
        assert torch.equal(*changed)
        self._assert_same_state()
        return outputs[0], gradients[0]

    def _assert_same_state(self) -> None:
        ours, theirs = (layer.state_dict() for layer in self.layers)
        for name, expected in theirs.items():
            near = FP32 if expected.is_floating_point() else {"rtol": 0, "atol": 0}
            torch.testing.assert_close(ours[name].cpu(), expected, **near, msg=name)
        (our_scale, our_picks), (scale, picks) = self.seen[0][-1], self.seen[1][-1]
        assert our_scale is not None and scale is not None
        torch.testing.assert_close(our_scale.cpu(), scale, rtol=1e-5, atol=1e-6, equal_nan=True)
        assert our_scale.stride() == scale.stride()
        if our_picks.dtype is torch.bool:  # C has them in a row, block by block
            our_picks, picks = our_picks.nonzero()[:, 1].sort().values, picks.sort().values
        assert torch.equal(our_picks.cpu(), picks)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize(
    ("top_k", "shape"),
    [(1, (5, 3, 7)), (7, (5, 3, 7)), (1, (24, 5, 5)), (3, (24, 5, 5))],  # one program, and three
)
@pytest.mark.parametrize("inplace", [False, True])
def test_the_same_in_every_phase(
    monkeypatch: pytest.MonkeyPatch,
    dtype: torch.dtype,
    channels_last: bool,
    top_k: int,
    shape: tuple[int, ...],
    inplace: bool,
):
    torch.manual_seed(0)
    settings = {"top_k": top_k, "late_start": 2, "forget_steps": 4, "delta": 2.5}
    both = Both(monkeypatch, shape, inplace=inplace, **settings)
    order = torch.channels_last if channels_last else torch.contiguous_format
    for call, batch in enumerate([3, 1, 2, 18, 5, 2]):
        values = (torch.randn(batch, *shape) ** 3).to(dtype).to(memory_format=order)
        output, gradient = both(values)
        chosen = gradient < 0
        assert (chosen.flatten(1).sum(1) == (top_k if call >= 2 else 0)).all()
        assert not (output != values)[~chosen].any()


@pytest.mark.parametrize("shape", [(5, 3, 7), (24, 5, 5)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("channels_last", [False, True])
def test_a_share_the_same(
    monkeypatch: pytest.MonkeyPatch,
    shape: tuple[int, ...],
    dtype: torch.dtype,
    channels_last: bool,
):
    torch.manual_seed(0)
    both = Both(monkeypatch, shape, method="share", share=0.05, late_start=2, delta=2.5)
    order = torch.channels_last if channels_last else torch.contiguous_format
    inhibited = 0
    for batch in [3, 2, 17, 4, 3]:
        values = torch.randn(batch, *shape).to(dtype).to(memory_format=order)
        _, gradient = both(values)
        inhibited += int((gradient < 0).sum())
    assert inhibited > 20


@pytest.mark.parametrize("bad", [math.nan, -math.nan, math.inf, -math.inf, 3e38])
@pytest.mark.parametrize("settings", [{"top_k": 1}, {"top_k": 3}, {"method": "share"}])
def test_the_same_for_what_is_not_finite(
    monkeypatch: pytest.MonkeyPatch, bad: float, settings: dict[str, Any]
):
    torch.manual_seed(0)
    both = Both(monkeypatch, (6,), late_start=1, **settings)
    for call in range(5):
        values = torch.randn(4, 6)
        if call in (0, 3):
            values[1, 2] = values[2, 5] = bad
        both(values)
    assert both.layers[0].num_batches_tracked == 3


@pytest.mark.parametrize("channels_last", [False, True])
def test_of_equal_scales_the_lowest_neurons(monkeypatch: pytest.MonkeyPatch, channels_last: bool):
    both = Both(monkeypatch, (6, 20, 13), top_k=4, late_start=1)
    order = torch.channels_last if channels_last else torch.contiguous_format
    for number in (1.0, 2.0, 5.0):  # all neurons have the same moments
        values = torch.arange(3.0).view(3, 1, 1, 1) * number * torch.ones(6, 20, 13)
        both(values.to(memory_format=order))
    scale, picks = both.seen[0][-1]
    assert scale is not None and (scale.flatten(1).amax(1) == scale.flatten(1).amin(1)).all()
    # Places in memory of the first four in row-major order, all of the first channel.
    step = 6 if channels_last else 1
    assert picks.tolist() == 3 * [[0, step, 2 * step, 3 * step]]


def test_random_picks_the_same(monkeypatch: pytest.MonkeyPatch):
    both = Both(monkeypatch, (24, 5, 5), method="sham", top_k=3, late_start=1)
    both.layers[0].seed.copy_(both.layers[1].seed)
    for _ in range(3):
        both(torch.randn(4, 24, 5, 5))


def test_a_gradient_in_another_order_is_turned_too(monkeypatch: pytest.MonkeyPatch):
    for method in ("memel", "share"):
        both = Both(monkeypatch, (4, 3, 5), method=method, late_start=1, share=0.1)
        for _ in range(3):
            values = torch.randn(2, 4, 3, 5)
            both(values, torch.randn(2, 4, 3, 5).to(memory_format=torch.channels_last))


def test_a_second_derivative_goes_through(monkeypatch: pytest.MonkeyPatch):
    torch.manual_seed(0)
    monkeypatch.setattr(fused, "on_gpu", lambda device: triton_memel)
    layer = MEmeL((4,), delta=2.0, late_start=1).to(DEVICE)
    layer(torch.randn(6, 4, device=DEVICE))
    values = torch.randn(3, 4, device=DEVICE, requires_grad=True)
    output = layer(values)
    chosen = output != values
    (gradient,) = torch.autograd.grad((output**3).sum(), values, create_graph=True)
    (second,) = torch.autograd.grad(gradient.sum(), values)
    torch.testing.assert_close(second, torch.where(chosen, 4.0, 1.0) * 6 * output)


def test_what_is_not_a_size_for_it():
    assert triton_memel.fits(256, 64 * 24 * 24, 1)
    assert not triton_memel.fits(16 * 24 * 24, 64, 1)  # channels alone are the neurons
    assert not triton_memel.fits(16, 64 * 24 * 24, 100)
    assert not triton_memel.fits(0, 64, 1)


def of_two_ranks(ranks: Ranks, on_gpu: Callable[[], Any]) -> dict[str, Any]:
    """What a rank has seen after some batches of its own."""
    warnings.filterwarnings("ignore", "overflow")
    fused.on_gpu = lambda device: on_gpu()
    # Where the moments lie says who counts them; here both lie on a CPU.
    fused._count = RunningStatistics.count_in_order if on_gpu() else fused._count
    layer = MEmeL((5, 4), late_start=1, forget_steps=3)
    generator = torch.Generator().manual_seed(ranks.rank)
    for _ in range(5):
        layer(torch.randn(3, 5, 4, generator=generator))
    return {name: buffer.tolist() for name, buffer in layer.state_dict().items()}


def loaded() -> Any:
    return kernels(fused.ON_GPU)


def nothing() -> None:
    return None


@pytest.mark.skipif(DEVICE.type == "cuda", reason="the ranks' tensors are on a CPU")
def test_two_ranks_add_up_their_moments():
    ours = in_ranks(2, of_two_ranks, loaded)
    theirs = in_ranks(2, of_two_ranks, nothing)
    for found, expected in zip(ours, theirs, strict=True):
        for name, value in expected.items():
            near = torch.tensor(found[name]), torch.tensor(value)
            torch.testing.assert_close(*near, rtol=1e-6, atol=1e-6, msg=name)


def test_a_penalty_is_left_to_torch(monkeypatch: pytest.MonkeyPatch):
    """`meta` stands for a GPU."""
    monkeypatch.setattr(fused, "on_gpu", lambda device: triton_memel)
    with torch.device("meta"):
        layers = {method: MEmeL((4,), method=method) for method in ("memel", "penalty")}
        samples = nn.Parameter(torch.zeros(2, 4)).detach()
    assert fused.serves(layers["memel"], samples)
    assert not fused.serves(layers["penalty"], samples)


def test_all_kernels_compile_as_they_are_called():
    """Those of the gates, too; for GPUs that are not here."""
    environment = os.environ | {"TRITON_INTERPRET": "0"}
    command = [sys.executable, "-W", "error::UserWarning", "-m", "tests.compile_triton"]
    ended = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert len(set(ended.stdout.splitlines())) > 30
