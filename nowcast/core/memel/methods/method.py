"""What a method of a layer is: which values it takes out of a batch, and what becomes of them.

The layer keeps the statistics and scores the batch; a method is without state, so one object serves
all layers, and reads a layer's settings where it needs them.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple

from torch import Tensor

from nowcast.core.memel.fused import Inhibiting

NOTHING = -1  # stands for the number of a neuron where too few could be chosen


class Scored(NamedTuple):
    """A batch as a method is given it, without gradients; matrices are ``batch neurons`` in memory
    order.

    Args:
        values: matrix, of the input's dtype.
        mean: of the neurons, before this batch or with it, as the convention says.
        scale: matrix of the Monosemantic Scale, float32. What a mask leaves out has any.
        started: whether values may be inhibited: one bool; with a mask a matrix of them, False
            also for what is absent.
        present: with a mask, a matrix of what is there; else None.
        known: whether the scale means something, so that a share can be counted: as `started`.
        calls: batches seen before this one.
        shape: of the samples, ``batch *neurons``.
        channels_last: their memory order.
        per_example: how many samples there are of each of the host's (`neuron_dims`).
        proving: whether the layer asks if anything has changed.
    """

    values: Tensor
    mean: Tensor
    scale: Tensor
    started: Tensor
    present: Tensor | None
    known: Tensor
    calls: Tensor
    shape: tuple[int, ...]
    channels_last: bool
    per_example: int
    proving: bool

    @property
    def masked(self) -> bool:
        """Whether a mask says of every value if it is there."""
        return self.present is not None


class Decision(NamedTuple):
    """What a method does with a batch.

    Args:
        kept: what `Method.apply` needs; a checkpointed call that is repeated is given it again.
        picks: the neurons by their place in memory, for an observer: ``batch top_k``, `NOTHING`
            where a mask has left too few; or, where their number is not fixed, a bool matrix.
        changed: whether a value is now another, if that was asked.
    """

    kept: tuple[Any, ...]
    picks: Tensor
    changed: Tensor | bool


class Done(NamedTuple):
    """A call that `Method.at_once` has carried out.

    Args:
        output: the samples.
        kept: gives what `Decision.kept` is; called where the call will be repeated.
        picks: gives what `Decision.picks` is, or one row of all neurons that were picked; called
            where there is an observer.
        changed: as of a `fused.Call`.
    """

    output: Tensor
    kept: Callable[[], tuple[Any, ...]]
    picks: Callable[[], Tensor]
    changed: Tensor | bool


class Method(ABC):
    """One way to choose values of a layer and to act on them or on their gradients."""

    changes_values = True
    """False: only gradients, so that there is nothing to do in evaluation."""

    def equip(self, layer: Inhibiting) -> None:  # noqa: B027  most need nothing
        """Give a new layer the buffers that the method keeps its state in."""

    @abstractmethod
    def decide(self, layer: Inhibiting, scored: Scored) -> Decision:
        """Choose, on the device that the batch is on."""

    @abstractmethod
    def apply(
        self, layer: Inhibiting, samples: Tensor, kept: tuple[Any, ...], channels_last: bool
    ) -> Tensor:
        """Carry out a decision, with its gradient."""

    @abstractmethod
    def at_once(
        self,
        layer: Inhibiting,
        samples: Tensor,
        channels_last: bool,
        per_example: int,
        scale: Tensor | None,
    ) -> Done:
        """A training call as `fused` does it: statistics, choice and action in one pass.

        Args:
            layer: whose statistics lie in the samples' memory order.
            samples: ``batch *neuron_shape``, dense.
            channels_last: their memory order.
            per_example: as of `Scored`.
            scale: matrix float32 to fill with the Monosemantic Scale; None: it is not wanted.
        """
