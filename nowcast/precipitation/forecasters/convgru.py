"""The convolutional GRU cell, with a socket at each place where MEmeL can sit."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from nowcast.core.plug import Socket

LEAK = 0.2  # slope of the leaky ReLU; Shi et al. 2017, appendix


class ConvGRU(nn.Module):
    """A convolutional GRU over a sequence (Shi et al. 2017, eq. 1).

    ``update = sigmoid(x_z + h_z)``, ``reset = sigmoid(x_r + h_r)``,
    ``candidate = leaky(x_h + reset * h_h)``,
    ``hidden = (1 - update) * candidate + update * hidden``
    where x and h are the convolutions of input and hidden state. The input convolution runs once
    for all time steps. Without an input its share is its bias alone.

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
        super().__init__()
        self.hidden_channels = hidden_channels
        self.activate_convolutions = activate_convolutions
        self.input_conv = nn.Conv2d(input_channels, 3 * hidden_channels, 3, padding=1)
        self.state_conv = nn.Conv2d(
            hidden_channels, 3 * hidden_channels, kernel, padding=kernel // 2
        )
        self.update = Socket()
        self.reset = Socket()
        # Neither the leaky ReLU nor the interpolation keeps its result for the backward pass.
        self.candidate = Socket(inplace=True)
        self.hidden = Socket(inplace=True)

    def forward(
        self,
        inputs: Float[Tensor, "time batch channels height width"] | None,
        hidden: Float[Tensor, "batch hidden height width"],
        length: int,
    ) -> list[Tensor]:
        """The hidden state after each of `length` time steps, from a hidden state to start with."""
        outputs: list[Tensor] = []
        for share in self._input_shares(inputs, length):
            # Under autocast a bias alone is float32 and a convolution is not.
            hidden = self._step(share.to(hidden.dtype), hidden)
            outputs.append(hidden)
        return outputs

    def _input_shares(self, inputs: Tensor | None, length: int) -> list[Tensor]:
        if inputs is None:
            assert self.input_conv.bias is not None
            return [self._activated(self.input_conv.bias.view(1, -1, 1, 1))] * length
        convolved = self._activated(self.input_conv(inputs.flatten(0, 1)))
        return list(convolved.view(*inputs.shape[:2], *convolved.shape[1:]).unbind(0))

    def _step(self, share: Tensor, hidden: Tensor) -> Tensor:
        x_z, x_r, x_h = share.chunk(3, dim=1)
        h_z, h_r, h_h = self._activated(self.state_conv(hidden)).chunk(3, dim=1)
        update = self.update(torch.sigmoid(x_z + h_z))
        reset = self.reset(torch.sigmoid(x_r + h_r))
        candidate = self.candidate(functional.leaky_relu(x_h + reset * h_h, LEAK))
        return self.hidden(torch.lerp(candidate, hidden, update))  # type: ignore[no-any-return]

    def _activated(self, convolved: Tensor) -> Tensor:
        if not self.activate_convolutions:
            return convolved
        return functional.leaky_relu(convolved, LEAK)
