"""A sequence with all that can wait done once, against torch's operations step by step."""

import sys
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nowcast import plug_in
from nowcast.precipitation.forecasters.cells import recurrence
from nowcast.precipitation.forecasters.cells.convgru import ConvGRU

pytestmark = [
    pytest.mark.isa,
    pytest.mark.skipif(not recurrence.available, reason="_gates is not built: no C compiler"),
]

LENGTH, BATCH, CHANNELS, HIDDEN, SIZE = 4, 3, 2, 5, (6, 7)


def cell(activate: bool = True, kernel: int = 3, hidden: int = HIDDEN, seed: int = 0) -> ConvGRU:
    torch.manual_seed(seed)
    made = ConvGRU(CHANNELS, hidden, kernel, activate)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.mul_(3)
    return made


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def passed(
    made: ConvGRU,
    with_inputs: bool = True,
    with_state: bool = True,
    length: int = LENGTH,
    bf16: bool = False,
) -> dict[str, Tensor]:
    """What comes out of a cell, and all gradients of a number made of it."""
    inputs = random(length, BATCH, CHANNELS, *SIZE).requires_grad_() if with_inputs else None
    state = random(BATCH, made.hidden_channels, *SIZE).requires_grad_() if with_state else None
    made.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        hidden, (last,) = made(inputs, None if state is None else (state,), length)
    weights = random(*hidden.shape)
    ((hidden.float() * weights).sum() + last.float().square().sum()).backward()
    found = {"hidden": hidden.detach().float(), "last": last.detach().float()}
    found |= {
        name: parameter.grad
        for name, parameter in made.named_parameters()
        if parameter.grad is not None
    }
    leaves = {"inputs": inputs, "state": state}
    return found | {name: leaf.grad for name, leaf in leaves.items() if leaf is not None}


def by_torch(monkeypatch: pytest.MonkeyPatch, call: Callable[[], dict[str, Tensor]]):
    with monkeypatch.context() as patch:
        patch.setattr(recurrence, "available", False)
        return call()


@pytest.mark.parametrize("activate", [True, False])
@pytest.mark.parametrize(
    ("with_inputs", "with_state", "length"),
    [(True, True, 4), (True, False, 4), (False, True, 3), (True, False, 1), (False, True, 1)],
)
def test_states_and_gradients_are_those_of_torch(
    monkeypatch: pytest.MonkeyPatch,
    activate: bool,
    with_inputs: bool,
    with_state: bool,
    length: int,
):
    made = cell(activate, kernel=5)

    def call() -> dict[str, Tensor]:
        return passed(made, with_inputs, with_state, length)

    ours, theirs = call(), by_torch(monkeypatch, call)
    # Without an input nothing is made of the input's weights, and nothing is said of them.
    assert ours.keys() == theirs.keys()
    assert ("input_conv.weight" in ours) == with_inputs
    for name, expected in theirs.items():
        torch.testing.assert_close(ours[name], expected, rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.parametrize(
    ("site", "method"),
    [
        ("update", "memel"),
        ("candidate", "memel"),
        ("hidden", "memel"),
        ("candidate", "share"),
        ("hidden", "penalty"),
        ("hidden", "sham"),
    ],
)
def test_memel_in_a_socket_sees_and_does_the_same(
    monkeypatch: pytest.MonkeyPatch, site: str, method: str
):
    found, layers = [], []
    for available in (True, False):
        monkeypatch.setattr(recurrence, "available", available)
        made = cell()
        settings = {"method": method, "share": 0.1, "penalty_weight": 30.0}
        (layer,) = plug_in(made, site, late_start=2, top_k=3, **settings).values()
        found.append(passed(made))
        layers.append(layer)
    for name, expected in found[1].items():
        # Gradients are sums of some hundred; a single term of the penalty is about 0.5.
        atol = 1e-3 if method == "penalty" else 1e-5
        torch.testing.assert_close(found[0][name], expected, rtol=1e-4, atol=atol, msg=name)
    assert layers[0].num_batches_tracked == LENGTH
    torch.testing.assert_close(layers[0].running_var, layers[1].running_var)


def test_bfloat16_is_near():
    exact = passed(cell())
    for name, found in passed(cell(), bf16=True).items():
        assert (found - exact[name]).norm() < 0.02 * exact[name].norm(), name


@pytest.mark.parametrize(
    ("with_inputs", "with_state"), [(True, True), (True, False), (False, True)]
)
def test_bfloat16_is_as_near_as_with_torch(
    monkeypatch: pytest.MonkeyPatch, with_inputs: bool, with_state: bool
):
    """A median over seeds: where a sum is near a leaky ReLU's kink, one rounding decides."""
    monkeypatch.setattr(sys.modules[__name__], "SIZE", (14, 15))
    ratios: dict[str, list[float]] = {}
    for seed in range(5):
        call = partial(passed, cell(hidden=16, seed=seed), with_inputs, with_state)
        exact = by_torch(monkeypatch, call)
        theirs = by_torch(monkeypatch, partial(call, bf16=True))
        ours = call(bf16=True)
        for name, value in exact.items():
            lost = (ours[name] - value).norm() / (theirs[name] - value).norm()
            ratios.setdefault(name, []).append(float(lost))
    assert {name: found for name, found in ratios.items() if np.median(found) > 1.05} == {}


def test_states_stay_float32_under_autocast():
    """As with torch's operations: a state that is rounded at each step drifts."""
    with torch.autocast("cpu", torch.bfloat16):
        hidden, (last,) = cell()(random(LENGTH, BATCH, CHANNELS, *SIZE), None, LENGTH)
    assert hidden.dtype is last.dtype is torch.float32


@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("site", ["candidate", "hidden"])
def test_steps_computed_again_give_the_same_to_the_bit(site: str, bf16: bool):
    found, layers = [], []
    for recompute in (False, True):
        made = cell()
        made.recompute = recompute
        (layer,) = plug_in(made, site, late_start=2).values()
        found.append(passed(made, with_state=False, bf16=bf16))
        layers.append(layer)
    assert all(torch.equal(found[1][name], expected) for name, expected in found[0].items())
    assert layers[1].num_batches_tracked == LENGTH
    assert torch.equal(layers[0].running_mean, layers[1].running_mean)


def test_steps_computed_again_keep_less():
    def kept(recompute: bool) -> int:
        made = cell()
        made.recompute = recompute
        sizes: dict[int, int] = {}

        def note(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            sizes[storage.data_ptr()] = storage.nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            hidden, _ = made(random(8, BATCH, CHANNELS, 30, 30), None, 8)
        del hidden
        return sum(sizes.values())

    assert kept(True) < kept(False) / 3


def test_a_graph_that_is_kept_gives_its_gradient_again():
    made = cell()
    hidden, _ = made(random(LENGTH, BATCH, CHANNELS, *SIZE), None, LENGTH)
    hidden.sum().backward(retain_graph=True)
    once = {name: parameter.grad.clone() for name, parameter in made.named_parameters()}
    hidden.sum().backward()
    for name, parameter in made.named_parameters():
        torch.testing.assert_close(parameter.grad, 2 * once[name])


def test_a_way_back_from_within_touches_the_steps_before_alone(monkeypatch: pytest.MonkeyPatch):
    def call() -> dict[str, Tensor]:
        made, seen = cell(), []
        made.candidate.register_forward_hook(lambda *call: seen.append(call[2]))
        state = random(BATCH, HIDDEN, *SIZE).requires_grad_()
        hidden, _ = made(random(LENGTH, BATCH, CHANNELS, *SIZE), (state,), LENGTH)
        # A first way back, through all steps, that ends before the weights.
        torch.autograd.grad(hidden.sum(), state, retain_graph=True)
        seen[1].sum().backward()
        return {name: parameter.grad for name, parameter in made.named_parameters()}

    ours, theirs = call(), by_torch(monkeypatch, call)
    for name, expected in theirs.items():
        torch.testing.assert_close(ours[name], expected, rtol=1e-4, atol=1e-5, msg=name)


def test_frozen_weights_pass_the_gradient_on(monkeypatch: pytest.MonkeyPatch):
    made = cell().requires_grad_(False)
    ours, theirs = passed(made), by_torch(monkeypatch, lambda: passed(made))
    assert ours.keys() == theirs.keys() == {"hidden", "last", "inputs", "state"}
    torch.testing.assert_close(ours["inputs"], theirs["inputs"], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(ours["state"], theirs["state"], rtol=1e-4, atol=1e-5)


def test_without_gradients_the_states_are_the_same():
    made = cell()
    inputs = random(LENGTH, BATCH, CHANNELS, *SIZE)
    expected, _ = made(inputs, None, LENGTH)
    with torch.inference_mode():
        found, _ = made(inputs, None, LENGTH)
    assert torch.equal(found, expected)


def test_a_layer_hooked_to_a_convolution_is_not_passed_by():
    made = cell()
    (layer,) = plug_in(made, "state_conv", late_start=1).values()
    made(random(LENGTH, BATCH, CHANNELS, *SIZE), None, LENGTH)
    assert layer.num_batches_tracked == LENGTH


def test_a_socket_may_give_a_new_tensor_in_another_order():
    class Scaled(nn.Identity):
        def forward(self, values: Tensor) -> Tensor:
            return (0.5 * values).contiguous()

    made = cell()
    inputs = random(LENGTH, BATCH, CHANNELS, *SIZE)
    for site in ("candidate", "hidden"):
        made.set_submodule(site, Scaled())
    found, (last,) = made(inputs, None, LENGTH)
    made.reset.register_forward_hook(lambda *_: None)  # torch's operations from here on
    expected, _ = made(inputs, None, LENGTH)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert torch.equal(last, found[-1])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_is_no_number_stays_so_and_large_values_saturate(dtype: torch.dtype):
    made = cell(activate=False)
    inputs = torch.zeros(1, 1, CHANNELS, *SIZE)
    inputs[0, 0, :, 0, 0] = torch.nan
    inputs[0, 0, :, 5, 6] = 1e30
    with torch.autocast("cpu", dtype, enabled=dtype is torch.bfloat16):
        (hidden,), _ = made(inputs, None, 1)
    assert hidden[0, :, 0, 0].isnan().all()
    assert hidden[0, :, 3:, :4].isfinite().all()
    assert not hidden[0, :, 5, 6].isnan().any()


@pytest.mark.parametrize("what", ["inputs", "state"])
def test_frames_that_are_not_here_are_left_to_torch(what: str):
    """`meta` stands for any other device: there C would read address 0, and torch says what is
    wrong."""
    inputs, state = random(1, BATCH, CHANNELS, *SIZE), random(BATCH, HIDDEN, *SIZE)
    made = cell()
    assert recurrence.serves(made, made.input_conv, made.state_conv, inputs, state)
    frames = [
        part.to("meta") if name == what else part
        for name, part in (("inputs", inputs), ("state", state))
    ]
    assert not recurrence.serves(made, made.input_conv, made.state_conv, *frames)
