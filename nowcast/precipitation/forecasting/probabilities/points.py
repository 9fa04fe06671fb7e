"""What a forecast says of one point: the rain by lead time, how sure that is, when it arrives."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from nowcast.precipitation.forecasting.probabilities.arrival import (
    ARRIVAL_MM_H,
    EARLY,
    LATE,
    Arrival,
    arrival,
)
from nowcast.precipitation.forecasting.probabilities.fields import exceedance
from nowcast.precipitation.forecasting.probabilities.places import Point

LEVELS = (EARLY, 0.5, LATE)  # of the quantiles over members


@dataclass(frozen=True)
class PointForecast:
    """What is made of one point.

    Args:
        point: which pixel.
        quantiles: the members' rain rates at `LEVELS`, mm/h; those of the pixel, or the largest
            within the radius, where one is asked for. NaN: no data. Of one forecast all are the
            same.
        exceedance: probability of each threshold at each lead time; within the radius likewise.
        arrivals: when rain of each threshold arrives.
    """

    point: Point
    quantiles: Float32[np.ndarray, "level lead"]
    exceedance: Float32[np.ndarray, "threshold lead"]
    arrivals: tuple[Arrival, ...]


def point_forecast(
    point: Point,
    rates: Float32[np.ndarray, "member lead"],
    minutes: Sequence[int],
    thresholds: Sequence[int | float],
) -> PointForecast:
    """What members, or a single forecast, say of a point.

    Args:
        point: which.
        rates: there, mm/h; NaN is no data.
        minutes: of each lead time.
        thresholds: mm/h; of none, the arrival is that of `ARRIVAL_MM_H`.
    """
    return PointForecast(
        point,
        np.quantile(rates, LEVELS, axis=0).astype(np.float32),
        exceedance(rates[:, None], thresholds)[:, 0],
        tuple(arrival(rates, minutes, threshold) for threshold in thresholds or (ARRIVAL_MM_H,)),
    )
