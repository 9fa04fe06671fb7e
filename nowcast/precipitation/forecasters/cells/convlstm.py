"""The convolutional LSTM cell, whose gates look at what they guard: peepholes."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nowcast.core.memel.plug import Socket
from nowcast.precipitation.forecasters.cells.cell import Cell, State, each


class ConvLSTM(Cell):
    """A convolutional LSTM over a sequence (Shi et al. 2015, eq. 3).

    ``input = sigmoid(x_i + h_i + p_i * memory)``, ``forget = sigmoid(x_f + h_f + p_f * memory)``,
    ``candidate = tanh(x_c + h_c)``, ``memory = forget * memory + input * candidate``,
    ``output = sigmoid(x_o + h_o + p_o * memory)``, ``hidden = output * tanh(memory)``
    where x and h are the convolutions of input and hidden state, and each gate, the candidate and
    the hidden state have a socket.

    The peepholes p are one number a channel. Shi et al. have one for each channel and place, which
    ties a model to one frame size and to where the rain was in training; here a model trained on
    windows forecasts whole frames. They start at zero, and the forget gate's bias at one
    (Jozefowicz et al. 2015), else a half of the memory is gone after one step.

    Args:
        input_channels: channels of the input, None where there never is one; x is 0 then.
        hidden_channels: channels of the hidden state, and of the memory.
        kernel: side of the state-to-state kernel, odd.
    """

    def __init__(self, input_channels: int | None, hidden_channels: int, kernel: int) -> None:
        super().__init__(hidden_channels)
        if input_channels is not None:
            self.input_conv = nn.Conv2d(input_channels, 4 * hidden_channels, 3, padding=1)
        self.state_conv = nn.Conv2d(
            hidden_channels, 4 * hidden_channels, kernel, padding=kernel // 2
        )
        assert self.state_conv.bias is not None
        nn.init.ones_(self.state_conv.bias[hidden_channels : 2 * hidden_channels])
        self.peepholes = nn.Parameter(torch.zeros(3, hidden_channels, 1, 1))
        self.input = Socket()
        self.forget = Socket()
        self.output = Socket()
        self.candidate = Socket()
        self.hidden = Socket(inplace=True)

    def start(self, inputs: Float[Tensor, "time batch channels height width"]) -> State:
        """Hidden state and memory before the first of these inputs: zeros."""
        (hidden,) = super().start(inputs)
        # A sum over all time steps, which bfloat16 would not see grow.
        return hidden, hidden.float()

    def forward(
        self, inputs: Tensor | None, state: State | None, length: int
    ) -> tuple[Tensor, State]:
        """See `Cell.forward`; the state is the hidden state and the memory, in float32."""
        hidden, memory = self._begun(inputs, state)
        outputs: list[Tensor] = []
        shares = None if inputs is None else each(self.input_conv, inputs)
        for step in range(length):
            share = None if shares is None else shares[step]
            hidden, memory = self._once(self._step, share, hidden, memory)
            outputs.append(hidden)
        return torch.stack(outputs), (hidden, memory)

    def _step(self, share: Tensor | None, hidden: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        gates: Tensor = self.state_conv(hidden)
        if share is not None:
            gates = gates + share
        to_input, to_forget, to_candidate, to_output = gates.chunk(4, dim=1)
        of_input, of_forget, of_output = self.peepholes
        enter = self.input(torch.sigmoid(to_input + of_input * memory))
        keep = self.forget(torch.sigmoid(to_forget + of_forget * memory))
        candidate = self.candidate(torch.tanh(to_candidate))
        memory = keep * memory + enter * candidate
        leave = self.output(torch.sigmoid(to_output + of_output * memory))
        return self.hidden((leave * torch.tanh(memory)).to(gates.dtype)), memory
