"""CSI without the bias: how well does a forecast place its rain, if it warns as often as it rains?

A blurred forecast seldom reaches a high rain rate, and its CSI there says that and little else. So
each forecast gets a threshold of its own: the one that it exceeds as often as the truth exceeds T.
That is the monotone map of the forecast's distribution to the observed one, taken at T.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor

from nowcast.core.scoring.sums import Sums
from nowcast.precipitation.units import (
    DBZ_AT_PIXEL_0,
    DBZ_SPAN,
    PIXEL_LEVELS,
    THRESHOLD_NAMES,
    Calibration,
)
from nowcast.precipitation.verification.balance import BALANCING_WEIGHTS, pixel_thresholds
from nowcast.precipitation.verification.curves import NO_NUMBER, NO_PIXEL, Curve, because, ratio
from nowcast.precipitation.verification.tally import classes

CLASSES = len(BALANCING_WEIGHTS)
LEVELS = PIXEL_LEVELS + 1


def level_sums(
    prediction: Float[Tensor, "batch time 1 height width"],
    truth: Float[Tensor, "batch time 1 height width"],
    mask: Bool[Tensor, "batch time 1 height width"],
    calibration: Calibration,
) -> Sums:
    """``levels`` (int64) per (class of the truth, level of the prediction, lead time): pixels.

    The class is how many thresholds of `THRESHOLDS_MM_H` the truth reaches, the level the nearest
    8-bit one of the prediction, clipped to [0, 1]. A prediction that is not a number has none.
    """
    leads, cells = truth.shape[1], CLASSES * LEVELS + 1  # one for what is not counted
    level = (prediction.detach().float().clamp(0, 1) * PIXEL_LEVELS).round()
    counted = mask & ~level.isnan()
    cell = classes(truth.float(), pixel_thresholds(calibration)).int() * LEVELS
    cell = (cell + level.nan_to_num().int()).where(counted, cells - 1)
    cell += cells * torch.arange(leads, device=cell.device, dtype=cell.dtype).view(-1, 1, 1, 1)
    counts = torch.bincount(cell.flatten(), minlength=leads * cells).view(leads, cells)[:, :-1]
    return Sums({"levels": counts.view(leads, CLASSES, LEVELS).permute(1, 2, 0).cpu().numpy()})


@dataclass(frozen=True)
class Exceedance:
    """How often a forecast reaches each level, and how often it is right, per (edge, lead time).

    Edge k, 0 to `LEVELS`, lies half a level below level k; beyond it are the pixels of level k and
    above. At a fraction of an edge, that fraction of the level between counts.

    Args:
        warned: pixels beyond each edge.
        hits: those of them whose truth is an event.
        observed: true events, by lead time.
    """

    warned: NDArray[np.int64]
    hits: NDArray[np.int64]
    observed: NDArray[np.int64]

    def edge(self, warned: NDArray[np.int64]) -> NDArray[np.float64]:
        """The highest edge that so many pixels are beyond; at least so many must have rain."""
        whole = (self.warned[1:] >= warned).sum(0)
        least, most = (_rows(self.warned, np.minimum(k, LEVELS)) for k in (whole + 1, whole))
        return np.asarray(whole + 1 - np.nan_to_num(ratio(warned - least, most - least)))


def exceedance(sums: Sums, threshold: int) -> Exceedance:
    """Of the sums of `level_sums`; the threshold by its place in `THRESHOLDS_MM_H`."""
    events = sums["levels"][threshold + 1 :].sum(0)
    warned, hits = (
        np.pad(counts[::-1].cumsum(0)[::-1], ((0, 1), (0, 0)))
        for counts in (sums["levels"].sum(0), events)
    )
    return Exceedance(warned, hits, events.sum(0))


def beyond(counts: NDArray[np.int64], edge: NDArray[np.float64]) -> NDArray[np.float64]:
    """Counts per (edge, lead time) at one edge or fraction of one for each lead time."""
    whole = np.clip(edge, 0, LEVELS - 1).astype(np.int64)
    most, least = _rows(counts, whole), _rows(counts, whole + 1)
    return np.asarray(most + (edge.clip(0, LEVELS) - whole) * (least - most))


def _rows(counts: NDArray[np.int64], places: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.asarray(np.take_along_axis(counts, places[None], 0)[0])


def matched_curves(sums: Sums, calibration: Calibration) -> dict[str, Curve]:
    """Scores by lead time, at a threshold that is chosen for each lead time on the scored set.

    - ``csi_matched/T`` = h / (n + w - h), n the true events >= T, w = n events of the forecast at
      its own threshold, h the hits among them; [0, 1], best 1. Other ways to take the bias out of
      CSI: Mesinger 2008, doi:10.5194/adgeo-16-137-2008.
    - ``matched_threshold/T`` = the forecast's own threshold; mm/h, [0, inf), best T. Below T, the
      forecast rains less often that hard than the truth.

    Between two 8-bit levels both w and h are interpolated. A dry pixel stays dry: where a forecast
    has fewer than n pixels of rain, w is their number. Chosen on the scored set itself, the
    threshold is one that no user knows beforehand (`fitted_curves` has one from other clips): the
    score is optimistic, by a little and for all forecasts alike.
    """
    lost = sums["levels"].sum((0, 1)) < sums["pixels"]
    curves = {}
    for place, name in enumerate(THRESHOLD_NAMES):
        of = exceedance(sums, place)
        warned = np.minimum(of.observed, of.warned[1])
        edge = of.edge(warned)
        hits = beyond(of.hits, edge)
        undefined = lost | (of.observed == 0)
        cases = (
            (lost, NO_NUMBER),
            (sums["pixels"] == 0, NO_PIXEL),
            (of.observed == 0, f"no event ≥ {name} mm/h in truth"),
        )
        reasons = because(*cases, otherwise="the forecast is dry")
        csi = ratio(hits, of.observed + warned - hits)
        threshold = rate_of(edge, calibration)
        curves[f"csi_matched/{name}"] = Curve(np.where(undefined, np.nan, csi), reasons)
        curves[f"matched_threshold/{name}"] = Curve(
            np.where(undefined | (warned == 0), np.nan, threshold), reasons
        )
    return curves


def rate_of(edge: NDArray[np.float64], calibration: Calibration) -> NDArray[np.float64]:
    """The rain rate in mm/h at an edge between two levels."""
    return calibration.rate_from_pixel((edge - 0.5) / PIXEL_LEVELS)


def edge_of(rate_mm_h: NDArray[np.float64], calibration: Calibration) -> NDArray[np.float64]:
    """The edge, or fraction of one, at a rain rate; all dry pixels are below it."""
    pixel = (calibration.dbz_from_rate(rate_mm_h) - DBZ_AT_PIXEL_0) / DBZ_SPAN  # beyond 1 too
    return np.asarray((pixel * PIXEL_LEVELS + 0.5).clip(1, LEVELS))
