"""The convolutional LSTM cell against its equations, gate by gate."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from nowcast.precipitation.forecasters.cells.convlstm import ConvLSTM

pytestmark = pytest.mark.isa

SOCKETS = ("input", "forget", "candidate", "output", "hidden")


class Recorder(nn.Module):
    """Keeps what passes through it."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tensor] = []

    def forward(self, values: Tensor) -> Tensor:
        self.seen.append(values)
        return values


def cell(input_channels: int | None = 2, kernel: int = 5) -> ConvLSTM:
    torch.manual_seed(0)
    made = ConvLSTM(input_channels, 3, kernel)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.mul_(3)
        made.peepholes.normal_()
    return made


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("with_input", [True, False])
def test_states_and_sockets_follow_the_equations(with_input: bool, kernel: int):
    made = cell(2 if with_input else None, kernel)
    inputs = random(4, 2, 2, 6, 7) if with_input else None
    hidden, memory = random(2, 3, 6, 7), random(3, 2, 6, 7).transpose(0, 1)
    recorders = {name: Recorder() for name in SOCKETS}
    for name, recorder in recorders.items():
        assert isinstance(made.get_submodule(name), nn.Identity)
        made.set_submodule(name, recorder)
    outputs, last = made(inputs, (hidden, memory), 4)

    def gate(number: int, values: Tensor, conv: nn.Conv2d) -> Tensor:
        rows, padding = slice(3 * number, 3 * number + 3), conv.kernel_size[0] // 2
        return functional.conv2d(values, conv.weight[rows], conv.bias[rows], padding=padding)

    p = made.peepholes[:, None]
    for step in range(4):
        i, f, c, o = (
            gate(number, hidden, made.state_conv)
            + (gate(number, inputs[step], made.input_conv) if with_input else 0)
            for number in range(4)
        )
        enter, keep = torch.sigmoid(i + p[0] * memory), torch.sigmoid(f + p[1] * memory)
        candidate = torch.tanh(c)
        memory = keep * memory + enter * candidate
        leave = torch.sigmoid(o + p[2] * memory)
        hidden = leave * torch.tanh(memory)
        torch.testing.assert_close(outputs[step], hidden, rtol=1e-4, atol=1e-5)
        for name, values in zip(SOCKETS, (enter, keep, candidate, leave, hidden), strict=True):
            torch.testing.assert_close(recorders[name].seen[step], values, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(last, (hidden, memory), rtol=1e-4, atol=1e-5)


def test_peepholes_are_parameters_that_learn_and_fit_any_frame_size():
    made = ConvLSTM(2, 3, 3)
    assert "peepholes" in made.state_dict()
    for size in ((4, 6), (9, 5)):
        outputs, _ = made(random(3, 2, 2, *size), (random(2, 3, *size), random(2, 3, *size)), 3)
        made.zero_grad()
        outputs[-1].sum().backward()
        assert made.peepholes.grad is not None
        assert bool((made.peepholes.grad != 0).all())


def test_memory_lasts_at_the_start_of_a_training():
    torch.manual_seed(0)
    made = ConvLSTM(None, 8, 3)
    hidden, memory = torch.zeros(1, 8, 5, 5), 0.1 * torch.ones(1, 8, 5, 5)
    with torch.no_grad():
        _, (_, later) = made(None, (hidden, memory), 1)
    recalled = made(None, (hidden, 2 * memory), 1)[1][1] - later
    assert 0.65 < (recalled / memory).mean().item() < 0.8  # sigmoid(1) is 0.73


def test_memory_stays_in_float32_under_autocast():
    made = cell()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inputs = random(3, 2, 2, 6, 6).bfloat16()
        outputs, (hidden, memory) = made(inputs, made.start(inputs), 3)
    assert outputs[0].dtype == hidden.dtype == torch.bfloat16
    assert memory.dtype == torch.float32
