"""The frames of a clip, carried to where their rain is now, and what is kept of them."""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from nowcast.precipitation.forecasters.comoving.circumstances import Circumstances
from nowcast.precipitation.forecasters.flow.advection import SEEN, at

CASCADE_FRAMES = 3
PAST_FADES = 0.7  # a frame's weight in the mean of the past, times that of the one after it

Source = Callable[[int], Tensor]
"""Steps -> column and row that what arrives after so many has come from, ``batch 2 high wide``."""


class Past:
    """What is kept of the frames of a clip, oldest first, each carried to where its rain is now."""

    def __init__(
        self,
        now: Float[Tensor, "batch 1 height width"],
        mask: Bool[Tensor, "batch 1 height width"],
        in_len: int,
    ) -> None:
        self.now = now
        self.newest: list[Tensor] = []
        """Those that the cascade fades from, newest first; as now where they are not known."""
        self.circumstances = Circumstances(torch.cat([now, mask.to(now.dtype)], 1), in_len)
        self._sum = torch.zeros_like(now)
        self._weight = torch.zeros_like(now)

    def add(self, part: Float[Tensor, "batch 2 height width"], age: int) -> None:
        """Take the next frame, so many steps old: pixels, and 1 where they are known."""
        rain, known = part[:, :1], part[:, 1:]
        if age < CASCADE_FRAMES:
            self.newest.insert(0, rain.where(known > 0, self.now))
        self.circumstances.add(part, age)
        self._sum = PAST_FADES * self._sum + rain * known
        self._weight = PAST_FADES * self._weight + known

    def mean(self) -> Float[Tensor, "batch 1 height width"]:
        """Of all frames, the newer the more; that of now where none is known."""
        seen = self._weight > 0
        return torch.where(seen, self._sum / self._weight.where(seen, 1.0), self.now)


def carried(
    pixels: Float[Tensor, "batch 1 height width"],
    data: Bool[Tensor, "batch 1 height width"],
    source: Source,
    steps: int,
) -> Float[Tensor, "batch 2 height width"]:
    """A frame that is so many steps old, as it would look had its rain already moved to where it is
    now, and where that is known (1 or 0); dry where it is not."""
    both = torch.cat([pixels.where(data, 0.0), data.to(pixels.dtype)], dim=1)
    if not steps:
        return both
    rain, weight = at(both, source(steps), "zeros").chunk(2, dim=1)
    known = (weight >= SEEN).to(pixels.dtype)
    return torch.cat([known * rain / weight.clamp(min=SEEN), known], dim=1)
