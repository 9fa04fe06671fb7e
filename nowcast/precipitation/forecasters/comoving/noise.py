"""Gaussian noise of several scales, each with its own memory, in a frame that moves with the rain.

As STEPS (Bowler et al. 2006, doi:10.1256/qj.04.100), but how much of it there is, and how long it
lasts, may differ by place, scale and lead time.
"""

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from nowcast.precipitation.forecasters.comoving.correction import CELL_PX, enlarged

LEVELS = 7  # values are independent 1, 2, 4 ... 64 pixels apart
CELL_LEVEL = CELL_PX.bit_length() - 1
# Standard deviation of a level whose values had one, after it was made twice as fine so often.
STD = (1.0, 0.627, 0.566, 0.554, 0.55, 0.55, 0.55)

Draw = Callable[[int, int], Tensor]
"""Height and width -> standard normal numbers, ``batch member height width``."""


class Noise:
    """The noise of a forecast's members, one lead time after the other.

    Args:
        draw: where its numbers come from.
        height: of frames, pixels; a multiple of `CELL_PX`.
        width: likewise.
    """

    def __init__(self, draw: Draw, height: int, width: int) -> None:
        self._draw = draw
        self._sizes = [(height, width)]
        for _ in range(LEVELS - 1):
            self._sizes.append((-(-self._sizes[-1][0] // 2), -(-self._sizes[-1][1] // 2)))
        self._fields: list[Tensor] = []

    def next(
        self,
        amplitudes: Float[Tensor, "batch levels high wide"],
        memory: Float[Tensor, "batch levels"],
    ) -> Float[Tensor, "batch member height width"]:
        """That of the next lead time.

        Args:
            amplitudes: on cells: the standard deviation of each level, finest first.
            memory: the correlation of each level with that of the lead time before.
        """
        fresh = [self._draw(*size) for size in self._sizes]
        if self._fields:
            keep = memory[..., None, None, None].unbind(1)
            fresh = [
                share * old + (1 - share.square()).sqrt() * new
                for share, old, new in zip(keep, self._fields, fresh, strict=True)
            ]
        self._fields = fresh
        coarse = amplitudes[:, CELL_LEVEL:]
        finer = enlarged(amplitudes[:, :CELL_LEVEL])
        total: Tensor | None = None
        shares: list[Tensor] = []
        for level in range(LEVELS):
            if level < CELL_LEVEL:
                share = finer[:, level : level + 1]
                share = share if not level else functional.avg_pool2d(share, 2**level)
            else:
                share = coarse[:, level - CELL_LEVEL : level - CELL_LEVEL + 1]
                for _ in range(level - CELL_LEVEL):
                    share = functional.avg_pool2d(share, 2, ceil_mode=True)
            shares.append(share / STD[level])
        for level in reversed(range(LEVELS)):
            part = shares[level] * fresh[level]
            if total is not None:
                height, width = self._sizes[level]
                doubled = functional.interpolate(total, scale_factor=2, mode="bilinear")
                part = part + doubled[..., :height, :width]
            total = part
        assert total is not None
        return total
