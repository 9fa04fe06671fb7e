"""What is foreseen without learning, and how the comoving network's numbers change it."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from nowcast.precipitation.forecasters.flow.advection import SEEN, at
from nowcast.precipitation.forecasters.lagrangian import SCALES_PX, bands

CELL_PX = 4  # side of the finest cell that the network works on; motion needs no finer one either
MULTIPLE = 4 * CELL_PX  # two more stages, each half as fine
BANDS = 1 + len(SCALES_PX)
# The network's numbers for a pixel: one for each band of the extrapolation, one for the smoothed
# forecast, one for what the mean of the past differs by, one that is added.
CHANGES = BANDS + 3
UNLEARNED = 3  # extrapolation, smoothed forecast, mean of the past
SEEN_BY_NETWORK = slice(UNLEARNED, 2 * UNLEARNED + 1)  # of what `foreseen` gives
KNOWN = slice(2 * UNLEARNED, 2 * UNLEARNED + 1)
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


def corrected(
    guides: Float[Tensor, "leads batch 7 height width"],
    changes: Float[Tensor, "leads batch changes high wide"],
) -> Float[Tensor, "leads batch 1 height width"]:
    """What is foreseen with the network's changes, which are on cells."""

    def change(number: int) -> Tensor:
        share = changes[:, :, number : number + 1]
        return enlarged(share.flatten(0, 1)).view(forecast.shape)

    extrapolated, forecast, past = (guides[:, :, n : n + 1] for n in range(UNLEARNED))
    forecast = torch.addcmul(forecast, change(BANDS), forecast) + change(BANDS + 2)
    forecast = torch.addcmul(forecast, change(BANDS + 1), past - extrapolated)
    for number, band in enumerate(bands(extrapolated)):
        forecast = torch.addcmul(forecast, change(number), band)
    return decided(forecast)


def decided(forecast: Tensor) -> Tensor:
    """Little is drawn to nothing, steeply but with a gradient; negative keeps a small one."""
    share = torch.sigmoid((forecast - UNDECIDED) / UNDECIDED_WIDTH)
    return functional.leaky_relu(forecast, 0.01) * share


def enlarged(cells: Tensor) -> Tensor:
    return functional.interpolate(cells, scale_factor=CELL_PX, mode="bilinear")
