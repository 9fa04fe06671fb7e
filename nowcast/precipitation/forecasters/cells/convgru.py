"""The convolutional GRU cell: what a place becomes depends on a fixed neighbourhood of it."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from nowcast.precipitation.forecasters.cells import recurrence
from nowcast.precipitation.forecasters.cells.cell import LEAK, GRUCell, State, each
from nowcast.precipitation.forecasters.cells.recurrence import Recurrence


class ConvGRU(GRUCell):
    """A convolutional GRU over a sequence (Shi et al. 2017, eq. 1); see `GRUCell`.

    x and h are convolutions of input and hidden state. The input convolution runs once for all
    time steps. Without an input its share is its bias alone.

    Args:
        input_channels: channels of the input.
        hidden_channels: channels of the hidden state.
        kernel: side of the state-to-state kernel, odd.
        activate_convolutions: apply the leaky ReLU to both convolutions before the gates, as the
            code released with MEmeL does and HKO-7's own does not.
    """

    def __init__(
        self,
        input_channels: int,
        hidden_channels: int,
        kernel: int,
        activate_convolutions: bool = True,
    ) -> None:
        super().__init__(hidden_channels)
        self.activate_convolutions = activate_convolutions
        self.input_conv = nn.Conv2d(input_channels, 3 * hidden_channels, 3, padding=1)
        self.state_conv = nn.Conv2d(
            hidden_channels, 3 * hidden_channels, kernel, padding=kernel // 2
        )

    def forward(
        self, inputs: Tensor | None, state: State | None, length: int
    ) -> tuple[Tensor, State]:
        """See `Cell.forward`."""
        before = None if state is None else state[0]
        if recurrence.serves(self, self.input_conv, self.state_conv, inputs, before):
            slope = LEAK if self.activate_convolutions else 1.0
            fast = Recurrence(self, self.input_conv, self.state_conv, slope, self.recompute)
            states = fast.run(inputs, before, length)
            return states, (states[-1],)
        (hidden,) = self._begun(inputs, state)
        outputs: list[Tensor] = []
        for share in self._input_shares(inputs, length):
            hidden = self._once(self._step, share, hidden)
            outputs.append(hidden)
        return torch.stack(outputs), (hidden,)

    def _step(self, share: Tensor, hidden: Tensor) -> Tensor:
        # Under autocast a bias alone is float32 and a convolution is not.
        x = share.to(hidden.dtype).chunk(3, dim=1)
        h = self._activated(self.state_conv(hidden)).chunk(3, dim=1)
        return self._gated(x, h, hidden)

    def _input_shares(self, inputs: Tensor | None, length: int) -> list[Tensor]:
        if inputs is None:
            assert self.input_conv.bias is not None
            return [self._activated(self.input_conv.bias.view(1, -1, 1, 1))] * length
        return list(self._activated(each(self.input_conv, inputs)).unbind(0))

    def _activated(self, convolved: Tensor) -> Tensor:
        if not self.activate_convolutions:
            return convolved
        return functional.leaky_relu(convolved, LEAK)
