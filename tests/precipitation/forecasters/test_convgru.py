"""The ConvGRU cell against its equations, one time step at a time."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from nowcast import plug_in
from nowcast.precipitation.forecasters.cells import recurrence
from nowcast.precipitation.forecasters.cells.convgru import ConvGRU

pytestmark = pytest.mark.isa

SOCKETS = ("update", "reset", "candidate", "hidden")


@pytest.fixture(params=["in C", "torch operations"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param != "in C":
        monkeypatch.setattr(recurrence, "available", False)
    elif not recurrence.available:
        pytest.skip("_gates is not built: it takes a C compiler")


class Recorder(nn.Module):
    """Keeps what passes through it."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tensor] = []

    def forward(self, values: Tensor) -> Tensor:
        self.seen.append(values)
        return values


def cell(activate: bool, kernel: int = 5) -> ConvGRU:
    torch.manual_seed(0)
    made = ConvGRU(2, 3, kernel, activate_convolutions=activate)
    # Larger than at the start of a training, so that no gate sits at one half.
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.mul_(4)
    return made


def leaky(values: Tensor) -> Tensor:
    return torch.where(values > 0, values, 0.2 * values)


def by_the_equations(
    cell: ConvGRU, inputs: Tensor | None, hidden: Tensor, length: int, activate: bool
) -> dict[str, list[Tensor]]:
    """Shi et al. 2017, eq. 1, gate by gate and step by step."""
    before = leaky if activate else (lambda values: values)
    seen: dict[str, list[Tensor]] = {name: [] for name in SOCKETS}

    def gate(conv: nn.Conv2d, number: int, values: Tensor) -> Tensor:
        rows = slice(3 * number, 3 * (number + 1))
        padding = conv.kernel_size[0] // 2
        return before(
            functional.conv2d(values, conv.weight[rows], conv.bias[rows], padding=padding)
        )

    for step in range(length):
        x = [
            before(cell.input_conv.bias[3 * number : 3 * number + 3].view(1, 3, 1, 1))
            if inputs is None
            else gate(cell.input_conv, number, inputs[step])
            for number in range(3)
        ]
        h = [gate(cell.state_conv, number, hidden) for number in range(3)]
        update, reset = torch.sigmoid(x[0] + h[0]), torch.sigmoid(x[1] + h[1])
        candidate = leaky(x[2] + reset * h[2])
        hidden = (1 - update) * candidate + update * hidden
        for name, values in zip(SOCKETS, (update, reset, candidate, hidden), strict=True):
            seen[name].append(values)
    return seen


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("with_input", [True, False])
@pytest.mark.parametrize("activate", [True, False])
def test_states_and_sockets_follow_the_equations(activate: bool, with_input: bool, kernel: int):
    made = cell(activate, kernel)
    rng = torch.Generator().manual_seed(1)
    inputs = torch.randn(4, 2, 2, 6, 7, generator=rng) if with_input else None
    hidden = torch.randn(2, 3, 6, 7, generator=rng)
    expected = by_the_equations(made, inputs, hidden, 4, activate)
    recorders = {name: Recorder() for name in SOCKETS}
    for name, recorder in recorders.items():
        assert isinstance(made.get_submodule(name), nn.Identity)
        made.set_submodule(name, recorder)
    outputs, (last,) = made(inputs, (hidden,), 4)
    assert len(outputs) == 4
    assert torch.equal(last, outputs[-1])
    for step, output in enumerate(outputs):
        torch.testing.assert_close(output, expected["hidden"][step], rtol=1e-4, atol=1e-5)
        for name, recorder in recorders.items():
            torch.testing.assert_close(
                recorder.seen[step], expected[name][step], rtol=1e-4, atol=1e-5
            )


def test_the_setting_makes_a_difference():
    hidden = torch.randn(1, 3, 6, 6, generator=torch.Generator().manual_seed(2))
    activated, plain = (cell(activate)(None, (hidden,), 1)[0][0] for activate in (True, False))
    assert (activated - plain).abs().max() > 0.1


def test_without_an_input_only_its_bias_acts():
    made = cell(activate=True)
    hidden = torch.randn(1, 3, 6, 6, generator=torch.Generator().manual_seed(2))
    before, _ = made(None, (hidden,), 2)
    with torch.no_grad():
        made.input_conv.weight.add_(1.0)
    assert all(map(torch.equal, before, made(None, (hidden,), 2)[0]))
    with torch.no_grad():
        made.input_conv.bias.add_(1.0)
    assert not torch.allclose(before[0], made(None, (hidden,), 2)[0][0])


def test_an_input_of_zeros_is_no_input():
    made = cell(activate=True)
    hidden = torch.randn(1, 3, 6, 6, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(
        made(torch.zeros(2, 1, 2, 6, 6), (hidden,), 2)[0],
        made(None, (hidden,), 2)[0],
        rtol=1e-5,
        atol=1e-6,
    )


@pytest.mark.parametrize("socket", SOCKETS)
def test_memel_fits_every_socket_and_is_seen_in_training_alone(socket: str):
    torch.manual_seed(3)
    made, inputs, state = (
        cell(activate=True),
        torch.randn(3, 4, 2, 5, 5),
        (torch.randn(4, 3, 5, 5),),
    )
    before, _ = made.eval()(inputs, state, 3)
    layers = plug_in(made, [socket], dry_run=lambda host: host(inputs, state, 3), late_start=1)
    assert layers[socket].running_mean.shape == (3, 5, 5)
    made.eval()
    assert all(map(torch.equal, before, made(inputs, state, 3)[0]))
    made.train()
    made(inputs, state, 3)
    assert not torch.equal(made(inputs, state, 3)[0][0], before[0])
    assert layers[socket].num_batches_tracked == 6


@pytest.mark.parametrize("site", ["update", "reset", "candidate", "hidden"])
def test_memel_works_at_every_site(site: str):
    torch.manual_seed(0)
    cell = ConvGRU(2, 3, 3)
    sequence, start = torch.randn(12, 4, 2, 6, 6), (torch.zeros(4, 3, 6, 6),)
    plain, _ = cell(sequence, start, 12)
    layer = plug_in(cell, site, late_start=10)[site]
    inhibited, _ = cell(sequence, start, 12)
    assert layer.num_batches_tracked == 12
    # With a layer at `reset` the gates are computed by torch's operations.
    torch.testing.assert_close(inhibited[:10], plain[:10], rtol=0, atol=1e-6)
    assert not torch.equal(inhibited[10], plain[10])
    inhibited.sum().backward()
    assert all(p.grad.isfinite().all() for p in cell.parameters())
