"""MEmeL in C does what it does as torch operations, whatever it is given."""

import math
import shutil
import sysconfig
from pathlib import Path

import pytest
import torch

from nowcast import MEmeL
from nowcast.core.memel import fused

pytestmark = pytest.mark.isa

built = pytest.mark.skipif(
    not fused.available, reason="nowcast.core.memel._memel is not built: it takes a C compiler"
)


def test_it_is_built_where_it_can_be():
    header = Path(sysconfig.get_path("include")) / "Python.h"
    if shutil.which("cc") is None or not header.is_file():
        pytest.skip("there is no C compiler, or Python came without its headers")
    assert fused.available, "install nowcast again: building it is optional, so it failed silently"


def pair(monkeypatch: pytest.MonkeyPatch, *shape: int, **settings: float) -> tuple[MEmeL, MEmeL]:
    """A layer that works in C and one that does not."""
    one, other = MEmeL(shape, **settings), MEmeL(shape, **settings)
    serves = fused.serves
    monkeypatch.setattr(fused, "serves", lambda layer, x: layer is not other and serves(layer, x))
    return one, other


def assert_same_state(one: MEmeL, other: MEmeL) -> None:
    torch.testing.assert_close(one.running_mean, other.running_mean)
    torch.testing.assert_close(one.running_var, other.running_var)
    assert one.num_batches_tracked == other.num_batches_tracked
    assert one.num_samples_tracked == other.num_samples_tracked


@built
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("top_k", [1, 7])
@pytest.mark.parametrize("shape", [(5, 3, 7), (24, 9, 5)])  # less than a block, and more than two
def test_the_same_in_every_phase(
    monkeypatch: pytest.MonkeyPatch,
    dtype: torch.dtype,
    channels_last: bool,
    top_k: int,
    shape: tuple[int, ...],
):
    torch.manual_seed(0)
    settings = {"top_k": top_k, "late_start": 3, "forget_steps": 6, "delta": 2.5}
    one, other = pair(monkeypatch, *shape, **settings)
    order = torch.channels_last if channels_last else torch.contiguous_format
    for call in range(12):
        batch = 1 + call % 5
        values = (torch.randn(batch, *shape) ** 3).to(dtype).to(memory_format=order)
        first, second = values.clone().requires_grad_(), values.clone().requires_grad_()
        outputs = one(first), other(second)
        assert outputs[0].stride() == outputs[1].stride()
        changed = [output != values for output in outputs]
        assert torch.equal(*changed)
        assert changed[0].any() == (call >= 3)
        # A running mean that differs by rounding may be another bf16 number.
        torch.testing.assert_close(*outputs)
        upstream = torch.randn_like(values)
        for output in outputs:
            output.backward(upstream)
        assert torch.equal(first.grad, second.grad)
        assert_same_state(one, other)


@built
@pytest.mark.parametrize("bad", [math.nan, -math.nan, math.inf, -math.inf, 3e38])
@pytest.mark.parametrize("top_k", [1, 3])
def test_the_same_for_what_is_not_finite(monkeypatch: pytest.MonkeyPatch, bad: float, top_k: int):
    torch.manual_seed(0)
    one, other = pair(monkeypatch, 6, top_k=top_k, late_start=1)
    for call in range(5):
        values = torch.randn(4, 6)
        if call in (0, 3):
            values[1, 2] = values[2, 5] = bad
        first, second = values.clone().requires_grad_(), values.clone().requires_grad_()
        outputs = one(first), other(second)
        torch.testing.assert_close(*outputs, equal_nan=True)
        for output in outputs:
            output.backward(torch.ones_like(output))
        assert torch.equal(first.grad, second.grad)
        assert_same_state(one, other)
    assert one.num_batches_tracked == 3


@built
@pytest.mark.parametrize("channels_last", [False, True])
def test_of_equal_scales_the_lowest_neurons(monkeypatch: pytest.MonkeyPatch, channels_last: bool):
    torch.manual_seed(0)
    layers = pair(monkeypatch, 6, 20, 13, top_k=4, late_start=1)
    order = torch.channels_last if channels_last else torch.contiguous_format
    seen: list[list[torch.Tensor]] = []
    for layer in layers:
        picks: list[torch.Tensor] = []
        layer.observer = lambda _, chosen, picks=picks: picks.append(chosen)
        generator = torch.Generator().manual_seed(0)
        for _ in range(4):  # few numbers, and all neurons with the same moments
            values = torch.randint(0, 4, (3, 1, 1, 1), generator=generator) * torch.ones(6, 20, 13)
            values[:, :, 0] += torch.randint(0, 2, (3, 6, 13), generator=generator)
            layer(values.to(memory_format=order))
        seen.append(picks)
    assert all(map(torch.equal, *seen))


@built
def test_the_observer_is_given_the_scale_when_it_wants_it(monkeypatch: pytest.MonkeyPatch):
    torch.manual_seed(0)
    layers = pair(monkeypatch, 4, 5, 5, late_start=2)
    seen: list[list[torch.Tensor | None]] = []
    for layer in layers:
        scales: list[torch.Tensor | None] = []
        layer.observer = lambda scale, _, scales=scales: scales.append(scale)
        generator = torch.Generator().manual_seed(0)
        for call in range(4):
            layer.wants_scale = call != 2
            values = torch.randn(3, 4, 5, 5, generator=generator)
            layer(values.to(memory_format=torch.channels_last))
        seen.append(scales)
    assert [scale is None for scale in seen[0]] == [scale is None for scale in seen[1]]
    assert [scale is None for scale in seen[0]] == [False, False, True, False]
    torch.testing.assert_close(seen[0][3], seen[1][3])
    assert seen[0][3].is_contiguous(memory_format=torch.channels_last)


@built
def test_a_second_derivative_goes_through():
    torch.manual_seed(0)
    layer = MEmeL((4,), delta=2.0, late_start=1)
    layer(torch.randn(6, 4))
    values = torch.randn(3, 4, requires_grad=True)
    output = layer(values)
    chosen = output != values
    (gradient,) = torch.autograd.grad((output**3).sum(), values, create_graph=True)
    (second,) = torch.autograd.grad(gradient.sum(), values)
    # d/dz of -delta * 3 z'^2, and once more -delta.
    expected = torch.where(chosen, 4.0, 1.0) * 6 * output
    torch.testing.assert_close(second, expected)


@built
@pytest.mark.parametrize(
    ("settings", "values"),
    [
        ({"convention": "released"}, torch.randn(3, 4)),
        ({}, torch.randn(3, 4, dtype=torch.float64)),
        ({}, torch.randn(3, 4, dtype=torch.float16)),
        ({}, torch.nn.Parameter(torch.randn(3, 4))),
    ],
)
def test_leaves_the_rest_to_torch(settings: dict, values: torch.Tensor):
    layer = MEmeL((4,), late_start=1, **settings)
    assert not fused.serves(layer, values)
    for _ in range(3):
        assert layer(values).dtype == values.dtype
    assert layer.num_batches_tracked == 3


@built
def test_leaves_statistics_of_another_kind_to_torch():
    torch.manual_seed(0)
    layer, values = MEmeL((4,), late_start=1), torch.randn(3, 4)
    layer(values)
    assert fused.serves(layer, values)
    state = {name: value.double() for name, value in layer.state_dict().items()}
    layer.load_state_dict(state, assign=True)
    assert not fused.serves(layer, values)
    assert not fused.serves(MEmeL((4,)).to("meta"), values)


@built
def test_in_place_is_the_same_without_a_second_tensor():
    torch.manual_seed(0)
    one, other = MEmeL((6, 3, 3), late_start=2), MEmeL((6, 3, 3), late_start=2, inplace=True)
    first, second = torch.nn.Linear(3, 3), torch.nn.Linear(3, 3)
    second.load_state_dict(first.state_dict())
    for _ in range(6):
        values = torch.randn(4, 6, 3, 3)
        entering = second(values)
        outputs = one(first(values)), other(entering)
        assert outputs[1].data_ptr() == entering.data_ptr()
        assert torch.equal(*outputs)
        for output in outputs:
            output.square().sum().backward()
        assert torch.equal(first.weight.grad, second.weight.grad)
        assert_same_state(one, other)


@built
def test_in_place_where_the_value_is_needed_is_an_error_and_not_another_gradient():
    layer = MEmeL((4,), late_start=1, inplace=True)
    values = torch.randn(3, 4, requires_grad=True)
    output = layer(torch.sigmoid(values))  # whose backward pass needs its result
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        output.sum().backward()


@built
@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
def test_in_place_with_channels_alone_as_neurons(order: torch.memory_format):
    torch.manual_seed(0)
    made = {"neuron_dims": (1,), "late_start": 1}
    one, other = MEmeL((4,), **made), MEmeL((4,), inplace=True, **made)
    for _ in range(4):
        values = torch.randn(3, 4, 5, 5).to(memory_format=order)
        first, second = values.clone().requires_grad_(), values.clone().requires_grad_()
        outputs = one(first * 2), other(second * 2)
        assert torch.equal(*outputs)
        upstream = torch.randn_like(values)
        for output in outputs:
            output.backward(upstream)
        assert torch.equal(first.grad, second.grad)
