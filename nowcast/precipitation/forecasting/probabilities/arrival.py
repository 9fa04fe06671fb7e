"""When rain arrives: at a point a distribution over the members that bring it, or a field."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32

EARLY, LATE = 0.1, 0.9  # of the members that bring rain
ARRIVAL_MM_H = 0.5  # where no threshold is asked for: the least of the benchmark


@dataclass(frozen=True)
class Arrival:
    """When rain of a threshold arrives.

    Args:
        threshold_mm_h: of the rain.
        probability: share of the members that have it within the forecast; None: no data.
        median_minutes: lead time by which half of those have it; None: no member has it.
        early_minutes: by which a tenth of them has it.
        late_minutes: by which nine tenths have it.
        alone: it is of one forecast, not of members.
    """

    threshold_mm_h: int | float
    probability: float | None
    median_minutes: int | None = None
    early_minutes: int | None = None
    late_minutes: int | None = None
    alone: bool = False

    def __str__(self) -> str:
        rain = f"rain of {self.threshold_mm_h:g} mm/h or more"
        if self.probability is None:
            return f"{rain}: no data"
        if self.median_minutes is None:
            return f"{rain}: {'none forecast' if self.alone else 'P = 0'}"
        if self.alone:
            return f"{rain} in {self.median_minutes} min"
        return (
            f"{rain} in {self.median_minutes} min ({self.early_minutes}-{self.late_minutes}), "
            f"P = {self.probability:.2f}"
        )


def arrival(
    rates: Float[np.ndarray, "member lead"], minutes: Sequence[int], threshold_mm_h: int | float
) -> Arrival:
    """The first lead time at or above a threshold, over the members.

    Quantiles are lead times of the forecast: the first by which so many of the members that have
    rain at all have it.

    Args:
        rates: at one point, mm/h; NaN anywhere is no data.
        minutes: of each lead time.
        threshold_mm_h: what counts as rain.
    """
    if not bool(np.isfinite(rates).all()):
        return Arrival(threshold_mm_h, None, alone=len(rates) == 1)
    reached = rates >= threshold_mm_h
    having = reached.any(axis=1)
    if not bool(having.any()):
        return Arrival(threshold_mm_h, 0.0, alone=len(rates) == 1)
    first = np.asarray(minutes)[reached[having].argmax(axis=1)]
    early, median, late = np.quantile(first, (EARLY, 0.5, LATE), method="inverted_cdf")
    found = int(median), int(early), int(late)
    return Arrival(threshold_mm_h, float(having.mean()), *found, alone=len(rates) == 1)


def first_minutes(
    rates: Float[np.ndarray, "member lead height width"],
    minutes: Sequence[int],
    threshold_mm_h: int | float,
) -> Float32[np.ndarray, "height width"]:
    """The first lead time by which half of the members or more have had rain of a threshold.

    NaN where fewer than half have it within the forecast, and where a rate is NaN. Of one forecast,
    a single member, it is when the rain itself arrives.

    Args:
        rates: mm/h; NaN is no data.
        minutes: of each lead time.
        threshold_mm_h: what counts as rain.
    """
    had = np.zeros((len(rates), *rates.shape[2:]), dtype=bool)
    missing = np.zeros(rates.shape[2:], dtype=bool)
    first = np.full(rates.shape[2:], np.nan, dtype=np.float32)
    for lead, minute in enumerate(minutes):
        had |= rates[:, lead] >= threshold_mm_h
        missing |= np.isnan(rates[:, lead]).any(axis=0)
        first[np.isnan(first) & (2 * had.sum(axis=0) >= len(rates))] = minute
    first[missing] = np.nan
    return first
