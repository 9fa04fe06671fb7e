"""The gates as Triton kernels do what they do in C."""

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from nowcast import plug_in
from nowcast.precipitation.forecasters.cells import recurrence
from nowcast.precipitation.forecasters.cells.cell import LEAK
from nowcast.precipitation.forecasters.cells.convgru import ConvGRU
from tests.triton_kernels import DEVICE, kernels

triton_gates = kernels(recurrence.ON_GPU)
if not recurrence.available:
    pytest.skip("_gates is not built: no C compiler", allow_module_level=True)

c_gates = recurrence._gates
# A GPU's exponential and division are of two units in the last place.
EXACT = 1e-6 if DEVICE.type == "cpu" else 1e-5
DTYPES = [torch.float32, torch.bfloat16]
SHAPES = [(1, 3, 1, 1), (2, 5, 6, 7), (3, 32, 5, 5)]  # up to more than one program


def frames(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    made = torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
    made.view(-1)[::7] = 0.0  # a leaky ReLU's kink
    return made.to(dtype).contiguous(memory_format=torch.channels_last)


def called(gates: object, name: str, inputs: list, outputs: list, *numbers: float) -> list:
    """What a function writes into copies of the outputs, from copies of the inputs."""
    device = DEVICE if gates is triton_gates else torch.device("cpu")
    given = [None if part is None else part.to(device, copy=True) for part in inputs]
    made = [None if part is None else torch.full_like(part, 7, device=device) for part in outputs]
    getattr(gates, name)(*given, *made, *numbers)
    return [part.cpu() for part in made if part is not None]


def both(name: str, inputs: list, outputs: list, *numbers: float) -> tuple[list, list]:
    ours = called(triton_gates, name, inputs, outputs, *numbers)
    return ours, called(c_gates, name, inputs, outputs, *numbers)


def assert_near(ours: list[Tensor], theirs: list[Tensor]) -> None:
    for found, expected in zip(ours, theirs, strict=True):
        if found.dtype is torch.uint8:
            assert torch.equal(found, expected)
        else:
            # Triton's interpreter cuts bits off for bfloat16, where a GPU rounds.
            rtol = EXACT if found.dtype is torch.float32 else 2**-7
            torch.testing.assert_close(found, expected, rtol=rtol, atol=1e-6, equal_nan=True)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("x_dtype", DTYPES)
@pytest.mark.parametrize("h_dtype", DTYPES)
@pytest.mark.parametrize("slope", [LEAK, 1.0])
def test_there_and_back(
    shape: tuple[int, ...], x_dtype: torch.dtype, h_dtype: torch.dtype, slope: float
):
    batch, channels, *size = shape
    x = frames(batch, 3 * channels, *size, dtype=x_dtype)
    h = frames(batch, 3 * channels, *size, dtype=h_dtype, seed=1)
    x[0, 0, 0, 0] = torch.nan
    h[-1, -1, -1, -1] = 1e30
    state, carried = frames(*shape), frames(*shape, dtype=h_dtype)
    outputs = [state, state, state, carried, state.to(torch.uint8)]
    ours, theirs = both("open", [x, h], outputs, slope, LEAK)
    assert_near(ours, theirs)
    assert_near(*both("open", [x, h], [state, state, None, None, None], slope, LEAK))
    if x_dtype is torch.float32 and h_dtype is torch.bfloat16:
        return  # C has no such way back: nothing needs it
    update, _, reset, carried, signs = theirs
    given = [frames(*shape, seed=2), frames(*shape, seed=3), update, reset, carried, signs]
    dtype = torch.bfloat16 if torch.bfloat16 in (x_dtype, h_dtype) else torch.float32
    assert_near(*both("close", given, [x.to(dtype), x.to(dtype)], slope, LEAK))


@pytest.mark.parametrize("alone", ["x", "h"])
def test_a_bias_alone_is_that_of_every_place(alone: str):
    x, h = frames(2, 15, 3, 4), frames(2, 15, 3, 4, seed=1)
    bias = torch.randn(15, generator=torch.Generator().manual_seed(2))
    given = [bias, h] if alone == "x" else [x, bias]
    state = frames(2, 5, 3, 4)
    outputs = [state, state, state, state, state.to(torch.uint8)]
    assert_near(*both("open", given, outputs, LEAK, LEAK))


@pytest.mark.parametrize("shape", SHAPES)
def test_mixed_and_back(shape: tuple[int, ...]):
    parts = [frames(*shape, seed=seed) for seed in range(4)]
    assert_near(*both("mix", parts[:3], parts[:1]))
    assert_near(*both("unmix", parts, parts[:3]))


def test_frames_that_lie_otherwise_are_not_read():
    state = torch.zeros(2, 5, 3, 4, device=DEVICE)  # row-major
    with pytest.raises(AssertionError):
        triton_gates.mix(state, state, state, state)


@pytest.mark.parametrize("with_inputs", [True, False])
@pytest.mark.parametrize("recompute", [False, True])
def test_a_cell_passes_a_sequence_as_in_c(
    monkeypatch: pytest.MonkeyPatch, with_inputs: bool, recompute: bool
):
    found = []
    for gates in (triton_gates, c_gates):
        monkeypatch.setattr(recurrence, "gates_on", lambda device, gates=gates: gates)
        device = DEVICE if gates is triton_gates else torch.device("cpu")
        torch.manual_seed(0)
        cell = ConvGRU(2, 5, 3).to(device)
        cell.recompute = recompute
        plug_in(cell, "candidate", late_start=1)
        leaves = SimpleNamespace(
            inputs=torch.randn(3, 2, 2, 6, 7).to(device).requires_grad_(),
            state=torch.randn(2, 5, 6, 7).to(device).requires_grad_(),
        )
        inputs = leaves.inputs if with_inputs else None
        hidden, _ = cell(inputs, (leaves.state,), 3)
        hidden.square().sum().backward()
        gradients = {name: part.grad for name, part in cell.named_parameters()}
        gradients |= {"inputs": leaves.inputs.grad, "state": leaves.state.grad}
        found.append(
            {"hidden": hidden.detach().cpu()}
            | {name: part.cpu() for name, part in gradients.items() if part is not None}
        )
    assert found[0].keys() == found[1].keys()
    for name, expected in found[1].items():
        torch.testing.assert_close(found[0][name], expected, rtol=1e-5, atol=1e-5, msg=name)
