"""How much rain a learned correction may add: what the input allows, whatever the weights are.

A network takes rain after a radar's outage for a storm that grows, and goes on growing it. In the
hours of a nowcast rain comes from rain that is there, so a forecast is held below it:

- **Near.** Where the source of a pixel is known, its reflectivity is at most `HEADROOM_DB` above
  the highest that the forecast without learning has near it. Near is within `near_cells` cells of
  `CELL_PX` pixels, more at longer leads. What comes from an unknown source does not count.
- **Inflow.** Where the source is unknown, the forecast without learning is persistence. There the
  forecast is at most the highest persistence within `INFLOW_CELLS` cells, at every lead.
- **In all.** The mean rain rate of a forecast is at most `TOTAL` times that of the last frame, or
  of the extrapolation where that has more. What is more is taken from all rain by one factor.

A forecast without learning is never above the last frame's maximum, so no forecast is more than
`HEADROOM_DB` above that: 1.25 times the rain rate under HKO-7's Z-R relation.
"""

from math import log

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from nowcast.precipitation.forecasters.graph import cut
from nowcast.precipitation.units import DBZ_AT_PIXEL_0, DBZ_SPAN, HKO7_ZR_A, HKO7_ZR_B

HEADROOM_DB = 1.5
TOTAL = 1.5
CELL_PX = 4
INFLOW_CELLS = 1  # none would cost 1 % of B-MSE + B-MAE where much flows in
LEADS_A_CELL = 3  # steps in which what is near grows by a cell
_HEADROOM = HEADROOM_DB / DBZ_SPAN  # pixels
_PER_E = 10 * HKO7_ZR_B / log(10) / DBZ_SPAN  # pixels that e times the rain rate are
_RATE_AT_0 = float((10 ** (DBZ_AT_PIXEL_0 / 10) / HKO7_ZR_A) ** (1 / HKO7_ZR_B))  # mm/h
_NO_RAIN_MM_H = 1e-6  # of a mean; keeps the logarithm of nothing finite


def near_cells(lead: int) -> int:
    """How many cells away rain is near, `lead` steps ahead (from 1)."""
    return 1 + lead // LEADS_A_CELL


def ceiling(
    unlearned: Float[Tensor, "batch 1 height width"],
    known: Bool[Tensor, "batch 1 height width"],
    lead: int,
) -> Float[Tensor, "batch 1 height width"]:
    """The highest that a forecast may be, pixel by pixel; sides are multiples of `CELL_PX`.

    Args:
        unlearned: the forecast without learning, pixels; the higher one where there are two.
        known: where its source is known.
        lead: steps ahead, from 1.
    """
    near = _highest(unlearned.where(known, 0.0), near_cells(lead)).maximum(unlearned) + _HEADROOM
    inflow = _highest(unlearned.where(known.logical_not(), 0.0), INFLOW_CELLS).maximum(unlearned)
    return torch.where(known, near, inflow)


def bounded(
    forecast: Float[Tensor, "batch 1 height width"],
    unlearned: Float[Tensor, "batch 1 high wide"],
    known: Bool[Tensor, "batch 1 high wide"],
    last: Float[Tensor, "batch 1 height width"],
    extrapolated: Float[Tensor, "batch 1 height width"],
    lead: int,
) -> Float[Tensor, "batch 1 height width"]:
    """A forecast below its ceiling and with no more rain in all than it may have.

    Args:
        forecast: pixels.
        unlearned: see `ceiling`; may be padded below and to the right, and `known` with it.
        known: see `ceiling`.
        last: the last frame, see `within_total`.
        extrapolated: see `within_total`.
        lead: steps ahead, from 1.
    """
    highest = cut(ceiling(unlearned, known, lead), *forecast.shape[-2:])
    return within_total(torch.minimum(forecast, highest), last, extrapolated)


def _highest(pixels: Float[Tensor, "batch 1 height width"], cells: int) -> Tensor:
    """Within so many cells; between the middles of cells in between, and so never above what is
    one cell further away."""
    found = functional.max_pool2d(functional.max_pool2d(pixels, CELL_PX), 2 * cells + 1, 1, cells)
    return functional.interpolate(found, scale_factor=float(CELL_PX), mode="bilinear")


def within_total(
    forecast: Float[Tensor, "batch 1 height width"],
    last: Float[Tensor, "batch 1 height width"],
    extrapolated: Float[Tensor, "batch 1 height width"],
) -> Float[Tensor, "batch 1 height width"]:
    """A forecast with no more rain in all than `TOTAL` times that of the others, in pixels of
    HKO-7's Z-R relation."""
    allowed = TOTAL * torch.maximum(_mean_rate(last), _mean_rate(extrapolated))
    share = (allowed + _NO_RAIN_MM_H) / (_mean_rate(forecast) + _NO_RAIN_MM_H)
    # One factor of all rates is one step down the scale, a logarithm of the rate.
    lower = forecast + _PER_E * share.clamp(max=1.0).log()
    return torch.minimum(forecast, lower.clamp(min=0.0))


def _mean_rate(pixels: Float[Tensor, "batch 1 height width"]) -> Float[Tensor, "batch 1 1 1"]:
    """Over a frame, mm/h."""
    rate = _RATE_AT_0 * torch.expm1(pixels.clamp(min=0.0) / _PER_E)
    return rate.mean(dim=(-2, -1), keepdim=True)
