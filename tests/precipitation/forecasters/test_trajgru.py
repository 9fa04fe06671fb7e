"""The trajectory GRU cell against its equations, and which way and how far a flow carries."""

import pytest
import torch
from scipy.ndimage import map_coordinates
from torch import Tensor
from torch.nn import functional

from nowcast.precipitation.forecasters.cells.trajgru import TrajGRU, carry

pytestmark = pytest.mark.isa


def cell(input_channels: int | None = 2, links: int = 4) -> TrajGRU:
    torch.manual_seed(0)
    made = TrajGRU(input_channels, 3, links)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.mul_(4)
        made.flow.weight.normal_(std=0.2)
    return made


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


@pytest.mark.parametrize(("right", "down"), [(1, 0), (0, 1), (-2, 0), (2, -3), (0, 0), (9, 0)])
def test_a_constant_flow_shifts_the_state_by_exactly_that_many_pixels(right: int, down: int):
    state = random(2, 3, 6, 8)
    flows = torch.tensor([right, down]).float().view(1, 1, 2, 1, 1).expand(2, 1, 2, 6, 8)
    expected = torch.zeros_like(state)
    for row in range(6):
        for column in range(8):
            if 0 <= row - down < 6 and 0 <= column - right < 8:
                expected[..., row, column] = state[..., row - down, column - right]
    torch.testing.assert_close(carry(state, flows)[:, :, 0], expected, rtol=1e-5, atol=1e-5)


def test_a_varying_flow_samples_bilinearly_and_finds_zeros_beyond_the_edge():
    state, flows = random(1, 2, 5, 7), 2 * random(1, 3, 2, 5, 7)
    carried = carry(state, flows)
    rows, columns = torch.meshgrid(torch.arange(5), torch.arange(7), indexing="ij")
    for channel in range(2):
        for link in range(3):
            sources = torch.stack([rows - flows[0, link, 1], columns - flows[0, link, 0]])
            expected = map_coordinates(
                state[0, channel].double().numpy(),
                sources.double().numpy(),
                order=1,
                mode="grid-constant",  # between the last pixel and the zero beyond it too
            )
            torch.testing.assert_close(
                carried[0, channel, link].double(), torch.from_numpy(expected), rtol=0, atol=1e-5
            )


def test_places_are_kept_apart_in_bfloat16():
    state = torch.zeros(1, 1, 1, 600)
    state[..., 501] = 1.0
    flows = torch.tensor([1.0, 0.0]).view(1, 1, 2, 1, 1).expand(1, 1, 2, 1, 600)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        carried = carry(state.bfloat16(), flows.bfloat16())
    assert carried.dtype == torch.bfloat16
    assert carried.flatten().nonzero().item() == 502


def test_flows_learn():
    state, flows = random(1, 2, 6, 6), torch.full((1, 1, 2, 6, 6), 0.3, requires_grad=True)
    target = carry(state, torch.full((1, 1, 2, 6, 6), 0.6))
    before = (carry(state, flows) - target).square().mean()
    (slope,) = torch.autograd.grad(before, flows)
    after = (carry(state, flows - 0.5 * slope) - target).square().mean()
    assert after < before


@pytest.mark.parametrize("with_input", [True, False])
def test_states_follow_the_equations(with_input: bool):
    made, hidden = cell(2 if with_input else None), random(2, 3, 6, 7)
    inputs = random(4, 2, 2, 6, 7) if with_input else None
    outputs, (last,) = made(inputs, (hidden,), 4)
    assert len(outputs) == 4
    assert torch.equal(last, outputs[-1])
    for step, output in enumerate(outputs):
        x = made.input_conv(inputs[step]).chunk(3, 1) if with_input else (0, 0, 0)
        flow = made.state_flow(hidden) + (made.input_flow(inputs[step]) if with_input else 0)
        flows = made.flow(functional.leaky_relu(flow, 0.2))
        assert flows.abs().max() > 0.5
        h = made.state_conv.bias.view(1, -1, 1, 1)
        weights = made.state_conv.weight.view(9, 3, 4)
        for link in range(4):
            carried = carry(hidden, flows[:, None, 2 * link : 2 * link + 2])[:, :, 0]
            h = h + torch.einsum("oc,bchw->bohw", weights[:, :, link], carried)
        h_z, h_r, h_h = h.chunk(3, 1)
        update, reset = torch.sigmoid(x[0] + h_z), torch.sigmoid(x[1] + h_r)
        candidate = functional.leaky_relu(x[2] + reset * h_h, 0.2)
        hidden = (1 - update) * candidate + update * hidden
        torch.testing.assert_close(output, hidden, rtol=1e-4, atol=1e-4)


def test_training_begins_without_motion():
    torch.manual_seed(0)
    made, hidden, sums = TrajGRU(2, 3, 4), random(1, 3, 5, 5), []
    made.flow.register_forward_hook(lambda *call: sums.append(call[2].abs().sum().item()))
    made(random(2, 1, 2, 5, 5), (hidden,), 2)
    assert sums == [0.0, 0.0]


def test_a_cell_without_input_has_no_weights_for_one():
    names = {name for name, _ in cell(None).named_parameters()}
    assert not [name for name in names if name.startswith("input")]
