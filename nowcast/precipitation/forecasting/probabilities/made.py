"""All that was asked for of an ensemble's members, made lead time by lead time."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32

from nowcast.precipitation.archive.description import Description
from nowcast.precipitation.forecasting.probabilities.fields import (
    ensemble_mean,
    exceedance,
    nearby_maximum,
    probability_matched_mean,
    quantiles,
)
from nowcast.precipitation.forecasting.probabilities.points import PointForecast, point_forecast
from nowcast.precipitation.forecasting.probabilities.request import ProbabilityRequest, Resolved
from nowcast.precipitation.forecasting.probabilities.windows import Window


@dataclass(frozen=True)
class WindowFields:
    """What is made of one window.

    Args:
        window: which.
        exceedance: probability of each threshold, mm/h or of a sum mm; NaN: no data.
        nearby: that of rain within the radius; None where none is asked for.
        quantiles: mm/h or mm.
    """

    window: Window
    exceedance: Float32[np.ndarray, "threshold height width"]
    nearby: Float32[np.ndarray, "threshold height width"] | None
    quantiles: Float32[np.ndarray, "quantile height width"]


@dataclass(frozen=True)
class Probabilities:
    """What the members of a forecast say; NaN where the newest frame had no data.

    Args:
        request: what was asked for.
        thresholds: mm/h.
        mean: of the members' rain rates, mm/h.
        matched_mean: the probability-matched mean, mm/h.
        exceedance: probability of each threshold, in [0, 1].
        nearby: that of rain within the radius of a pixel; None where none is asked for.
        quantiles: mm/h.
        windows: in the order asked for.
        points: in the order asked for.
    """

    request: ProbabilityRequest
    thresholds: tuple[int | float, ...]
    mean: Float32[np.ndarray, "lead height width"]
    matched_mean: Float32[np.ndarray, "lead height width"]
    exceedance: Float32[np.ndarray, "lead threshold height width"]
    nearby: Float32[np.ndarray, "lead threshold height width"] | None
    quantiles: Float32[np.ndarray, "lead quantile height width"]
    windows: tuple[WindowFields, ...]
    points: tuple[PointForecast, ...]


def probabilities(
    members: Float32[np.ndarray, "member lead height width"],
    mask: Bool[np.ndarray, "height width"],
    description: Description,
    request: ProbabilityRequest,
) -> Probabilities:
    """Make what was asked for.

    Args:
        members: pixels in [0, 1].
        mask: True where the newest frame has data; nothing is said elsewhere.
        description: of the archive.
        request: what to make.

    Raises:
        ConfigError: the request does not suit the forecast.
    """
    count, out_len = members.shape[:2]
    wanted = request.of(description, out_len)
    calibration, step = description.calibration, description.step_minutes
    fields = _Fields(out_len, mask.shape, wanted)
    rates_at = np.empty((len(wanted.points), count, out_len), dtype=np.float32)
    running: list[np.ndarray | None] = [None] * len(wanted.windows)
    windows: dict[int, WindowFields] = {}
    for lead in range(out_len):
        rates = calibration.rate_from_pixel(members[:, lead]).astype(np.float32)
        rates[:, ~mask] = np.nan
        fields.add(lead, rates)
        nearby = rates
        if wanted.radius_px is not None:
            nearby = nearby_maximum(rates, wanted.radius_px)
            fields.add_nearby(lead, nearby)
        for found, point in zip(rates_at, wanted.points, strict=True):
            found[:, lead] = nearby[:, point.row, point.column]
        for number, (window, steps) in enumerate(
            zip(wanted.windows, wanted.window_steps, strict=True)
        ):
            if lead < steps:
                running[number] = _joined(window, running[number], rates, step)
            if lead == steps - 1:
                whole, running[number] = running[number], None
                assert whole is not None
                windows[number] = _window(window, whole, wanted)
    minutes = [(lead + 1) * step for lead in range(out_len)]
    return Probabilities(
        request,
        wanted.thresholds,
        fields.mean,
        fields.matched_mean,
        fields.exceedance,
        fields.nearby,
        fields.quantiles,
        tuple(windows[number] for number in range(len(wanted.windows))),
        tuple(
            point_forecast(point, at, minutes, wanted.thresholds)
            for point, at in zip(wanted.points, rates_at, strict=True)
        ),
    )


class _Fields:
    """The fields of all lead times, filled one by one."""

    def __init__(self, out_len: int, size: tuple[int, ...], wanted: Resolved) -> None:
        self._wanted = wanted

        def empty(*kinds: int) -> np.ndarray:
            return np.empty((out_len, *kinds, *size), dtype=np.float32)

        self.mean, self.matched_mean = empty(), empty()
        self.exceedance = empty(len(wanted.thresholds))
        self.nearby = None if wanted.radius_px is None else empty(len(wanted.thresholds))
        self.quantiles = empty(len(wanted.quantiles))

    def add(self, lead: int, rates: np.ndarray) -> None:
        self.mean[lead] = ensemble_mean(rates)
        self.matched_mean[lead] = probability_matched_mean(rates)
        self.exceedance[lead] = exceedance(rates, self._wanted.thresholds)
        self.quantiles[lead] = quantiles(rates, self._wanted.quantiles)

    def add_nearby(self, lead: int, nearby: np.ndarray) -> None:
        assert self.nearby is not None
        self.nearby[lead] = exceedance(nearby, self._wanted.thresholds)


def _joined(
    window: Window, before: np.ndarray | None, rates: np.ndarray, step_minutes: int
) -> np.ndarray:
    """The window's values with one more lead time."""
    if window.kind == "sum":
        fallen: np.ndarray = rates * np.float32(step_minutes / 60)
        return fallen if before is None else before + fallen
    return rates if before is None else np.maximum(before, rates)


def _window(window: Window, whole: np.ndarray, wanted: Resolved) -> WindowFields:
    nearby = None
    if wanted.radius_px is not None:
        nearby = exceedance(nearby_maximum(whole, wanted.radius_px), wanted.thresholds)
    return WindowFields(
        window, exceedance(whole, wanted.thresholds), nearby, quantiles(whole, wanted.quantiles)
    )
