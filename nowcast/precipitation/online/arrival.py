"""What a forecaster is given to learn from, and how it says that it learns."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Int64, UInt8
from torch import Tensor


@dataclass(frozen=True)
class Arrival:
    """The frames that have become past since the last forecast, in order of time.

    Args:
        levels: 8-bit frames; a missing one repeats the frame before it.
        mask: True = use; all False where the frame is missing.
        times: valid time of each frame, UTC, minutes since 1970.
        missing: True where there is no frame.
        new_episode: these frames do not follow those that came before; there is a gap between.
    """

    levels: UInt8[Tensor, "time 1 height width"]
    mask: Bool[Tensor, "time 1 height width"]
    times: Int64[Tensor, " time"]
    missing: Bool[Tensor, " time"]
    new_episode: bool

    def __len__(self) -> int:
        return len(self.times)

    def followed_by(self, later: "Arrival") -> "Arrival":
        """These frames and those after them."""
        return Arrival(
            torch.cat([self.levels, later.levels]),
            torch.cat([self.mask, later.mask]),
            torch.cat([self.times, later.times]),
            torch.cat([self.missing, later.missing]),
            self.new_episode,
        )

    def newest(self, count: int) -> "Arrival":
        """The last `count` frames, or all if there are fewer."""
        kept = slice(-count, None)
        return Arrival(
            self.levels[kept],
            self.mask[kept],
            self.times[kept],
            self.missing[kept],
            self.new_episode,
        )


@runtime_checkable
class Observer(Protocol):
    """A forecaster that learns online; any `nn.Module` with this method is one."""

    def observe(self, arrived: Arrival) -> None:
        """Learn, or not, from what has become past; called before each forecast, in order."""
        ...
