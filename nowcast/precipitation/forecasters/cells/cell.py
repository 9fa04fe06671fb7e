"""What the encoder-forecaster asks of a recurrent cell: a state, and one call for a sequence."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from nowcast.core.memel.plug import Socket

LEAK = 0.2  # slope of the leaky ReLU; Shi et al. 2017, appendix

# The hidden state, which is the cell's output, and after it whatever else the cell remembers, each
# ``batch hidden height width``; stages differ in all but the batch.
State = tuple[Tensor, ...]


class Cell(nn.Module, ABC):
    """A convolutional recurrent cell.

    Args:
        hidden_channels: channels of the hidden state.
    """

    def __init__(self, hidden_channels: int) -> None:
        super().__init__()
        self.hidden_channels = hidden_channels
        self.recompute = False
        """Whether to keep no more of a time step than its state, and compute it again on the way
        back: less memory, more time."""

    def start(self, inputs: Float[Tensor, "time batch channels height width"]) -> State:
        """The state before the first of these inputs: zeros."""
        _, batch, _, height, width = inputs.shape
        return (inputs.new_zeros(batch, self.hidden_channels, height, width),)

    @abstractmethod
    def forward(
        self,
        inputs: Float[Tensor, "time batch channels height width"] | None,
        state: State | None,
        length: int,
    ) -> tuple[Float[Tensor, "length batch hidden height width"], State]:
        """The hidden state after each of `length` time steps, and the state after the last one.

        Without a state it is that of `start`, which needs inputs.
        """

    def _begun(self, inputs: Tensor | None, state: State | None) -> State:
        if state is not None:
            return state
        assert inputs is not None
        return self.start(inputs)

    def _once(self, step: Callable[..., Any], *of: Any) -> Any:
        """A time step, of which nothing else is kept if `recompute` says so."""
        if self.recompute and torch.is_grad_enabled():
            return checkpoint(step, *of, use_reentrant=False)
        return step(*of)


class GRUCell(Cell):
    """The gates of a convolutional GRU (Shi et al. 2017, eq. 1), with a socket at each.

    ``update = sigmoid(x_z + h_z)``, ``reset = sigmoid(x_r + h_r)``,
    ``candidate = leaky(x_h + reset * h_h)``,
    ``hidden = (1 - update) * candidate + update * hidden``
    where x comes from the input and h from the hidden state.
    """

    def __init__(self, hidden_channels: int) -> None:
        super().__init__(hidden_channels)
        self.update = Socket()
        self.reset = Socket()
        # Neither the leaky ReLU nor the interpolation keeps its result for the backward pass.
        self.candidate = Socket(inplace=True)
        self.hidden = Socket(inplace=True)

    def _gated(
        self, x: Sequence[Tensor] | Sequence[float], h: Sequence[Tensor], hidden: Tensor
    ) -> Tensor:
        """The next hidden state, from the three parts of x and of h."""
        update = self.update(torch.sigmoid(x[0] + h[0]))
        reset = self.reset(torch.sigmoid(x[1] + h[1]))
        candidate = self.candidate(functional.leaky_relu(x[2] + reset * h[2], LEAK))
        return self.hidden(torch.lerp(candidate, hidden, update))  # type: ignore[no-any-return]


def each(layer: nn.Module, sequence: Float[Tensor, "time batch channels height width"]) -> Tensor:
    """A layer applied to every frame of a sequence, in one call."""
    output: Tensor = layer(sequence.flatten(0, 1))
    return output.view(*sequence.shape[:2], *output.shape[1:])
