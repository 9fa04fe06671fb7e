"""What is foreseen without learning, and how the comoving network's numbers change it."""

from itertools import pairwise

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.compiler import is_exporting
from torch.nn import functional

from nowcast.precipitation.forecasters.cells.cell import LEAK
from nowcast.precipitation.forecasters.flow.advection import SEEN, at
from nowcast.precipitation.forecasters.lagrangian import SCALES_PX, bands

CELL_PX = 4  # side of the finest cell that the network works on; motion needs no finer one either
MULTIPLE = 4 * CELL_PX  # two more stages, each half as fine
BANDS = 1 + len(SCALES_PX)
UNLEARNED = 3  # extrapolation, smoothed forecast, mean of the past
# The network's numbers for a pixel: one for each band of the extrapolation, one for the smoothed
# forecast, one for what the mean of the past differs by, one that is added.
CHANGES = BANDS + 3
TERMS = UNLEARNED + 1  # what is foreseen, and the sum that the changes make of it
REACHES = (1, 3, 7)  # cells a side: 4, 12 and 28 pixels
NEARBY = UNLEARNED * len(REACHES)
GAIN = 8.0  # of pixels that a network sees beside others: rain is about 0.1 on average
SEEN_BY_NETWORK = slice(UNLEARNED, 2 * UNLEARNED + 1)  # of what `foreseen` gives
KNOWN = slice(2 * UNLEARNED, 2 * UNLEARNED + 1)
AT_ONCE_PX = 2**15  # of a forecast without a gradient, whose pixels go through the small network
# Between dry and the least rain that a radar tells (0.1 mm/h, 0.173) there is no truth. A forecast
# there is drawn to either side; see `decided`.
UNDECIDED = 0.10
UNDECIDED_WIDTH = 0.02


def foreseen(
    last: Float[Tensor, "batch 1 height width"],
    mask: Bool[Tensor, "batch 1 height width"],
    fading: Float[Tensor, "batch 1 height width"],
    past: Float[Tensor, "batch 1 height width"],
    source: Float[Tensor, "batch 2 height width"],
) -> Float[Tensor, "batch 7 height width"]:
    """What is foreseen without learning: extrapolation, smoothed forecast and mean of the past,
    persistent where their source is unknown; all again as the network sees them; and where it is
    known.

    The network sees the edge of the data go on where the source lies beyond it. Persistence there
    would stand still beside rain that moves, and be corrected as if it were growing.

    Args:
        last: the newest frame.
        mask: where it has data.
        fading: the smoothed forecast where the rain is now.
        past: the mean of the frames, each carried to where its rain is now.
        source: column and row from which what arrives at each pixel has come.
    """
    data = mask.to(last.dtype)
    still = torch.cat([last, fading, past], 1)
    found = at(torch.cat([still * data, data], 1), source, "border")
    weight = found[:, UNLEARNED:]
    seen = torch.where(weight >= SEEN, found[:, :UNLEARNED] / weight.clamp(min=SEEN), still)
    del found, weight  # large frames have no room for what is not needed
    known = at(data, source, "zeros") >= SEEN
    return torch.cat([torch.where(known, seen, still), seen, known.to(last.dtype)], 1)


def highest(
    seen: Float[Tensor, "batch 3 height width"],
) -> Float[Tensor, "batch nearby high wide"]:
    """Maxima of what is foreseen near each cell, within each of `REACHES`.

    They tell heavy rain that may arrive a little beside where it is foreseen. Sums of pixels, which
    are all that the cells see otherwise, do not; and the balanced error minds heavy rain.
    """
    batch, guides, height, width = seen.shape
    rows = seen.view(batch, guides, height // CELL_PX, CELL_PX, width).amax(3)
    cells = rows.view(batch, guides, height // CELL_PX, width // CELL_PX, CELL_PX).amax(4)
    found = [GAIN * cells]
    for reach, further in pairwise(REACHES):
        side = further - reach + 1
        found.append(functional.max_pool2d(found[-1], side, 1, side // 2))
    return torch.cat(found, 1)


class Correction(nn.Module):
    """What is foreseen, with the network's changes; and pixel by pixel what no sum of it can say.

    The changes make a weighted sum of what is foreseen. But the forecast of least error is no such
    sum: a shower among others is likelier to last than one alone, and what is more likely dry than
    wet is best forecast dry. So a small network, the same for each pixel, sees what is foreseen
    there, the sum, and what the cell there says to it, and adds to the sum. Its last layer begins
    at zero.

    Args:
        width: of its first layer, which is as many numbers as cells say to it.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.seen = nn.Linear(TERMS, width, bias=False)
        self.inner = nn.Linear(width, width // 2)
        self.added = nn.Linear(width // 2, 1)
        nn.init.zeros_(self.added.weight)
        nn.init.zeros_(self.added.bias)

    def forward(
        self,
        guides: Float[Tensor, "batch 7 height width"],
        changes: Float[Tensor, "batch changes_and_width high wide"],
    ) -> Float[Tensor, "batch 1 height width"]:
        """The forecast of a lead time, of `foreseen` and what is on cells: the changes, then what
        they say to the pixels."""
        return decided(self.undecided(guides, changes))

    def undecided(
        self,
        guides: Float[Tensor, "batch 7 height width"],
        changes: Float[Tensor, "batch changes_and_width high wide"],
    ) -> Float[Tensor, "batch 1 height width"]:
        """The forecast before what is little is drawn to nothing."""

        def change(number: int) -> Tensor:
            return upsampled[:, number : number + 1]

        upsampled = enlarged(changes[:, :CHANGES])
        extrapolated, smoothed, past = (guides[:, n : n + 1] for n in range(UNLEARNED))
        forecast = torch.addcmul(smoothed, change(BANDS), smoothed) + change(BANDS + 2)
        forecast = torch.addcmul(forecast, change(BANDS + 1), past - extrapolated)
        for number, band in enumerate(bands(extrapolated[:, None])):
            forecast = torch.addcmul(forecast, change(number), band[:, 0])
        terms = GAIN * torch.cat([guides[:, :UNLEARNED], forecast], 1)
        width = self.seen.out_features
        return forecast + self._pixelwise(terms, changes[:, CHANGES : CHANGES + width])

    def _pixelwise(self, terms: Tensor, cells: Tensor) -> Float[Tensor, "batch 1 height width"]:
        high, width = cells.shape[-2], terms.shape[-1]
        if torch.is_grad_enabled() or is_exporting():
            return self._of_pixels(terms, enlarged(_innermost(cells)))
        # Rows at a time: their numbers stay in the processor's cache and take next to no memory.
        rows = max(1, AT_ONCE_PX // (CELL_PX * width * len(terms)))
        found = torch.empty_like(terms[:, :1])
        for first in range(0, high, rows):
            above = min(first, 1)  # a row more on either side is blended into those between
            part = enlarged(_innermost(cells[..., first - above : first + rows + 1, :]))
            here = slice(CELL_PX * first, CELL_PX * (first + rows))
            some = terms[..., here, :]
            part = part[..., CELL_PX * above :, :][..., : some.shape[-2], :]
            found[..., here, :] = self._of_pixels(some, part)
        return found

    def _of_pixels(self, terms: Tensor, told: Tensor) -> Tensor:
        told = functional.leaky_relu(self.seen(terms.movedim(1, -1)) + told.movedim(1, -1), LEAK)
        added: Tensor = self.added(functional.leaky_relu(self.inner(told), LEAK))
        return added.movedim(-1, 1)


def _innermost(cells: Tensor) -> Tensor:
    # Many channels are enlarged three times as fast when they are innermost.
    return cells.contiguous(memory_format=torch.channels_last)


def decided(forecast: Tensor) -> Tensor:
    """Little is drawn to nothing, steeply but with a gradient; negative keeps a small one."""
    share = torch.sigmoid((forecast - UNDECIDED) / UNDECIDED_WIDTH)
    return functional.leaky_relu(forecast, 0.01) * share


def enlarged(cells: Tensor) -> Tensor:
    return functional.interpolate(cells, scale_factor=CELL_PX, mode="bilinear")
