"""Groups of clips by what a forecaster would call them: how heavy, which day, whither."""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from nowcast.core.errors import ConfigError
from nowcast.precipitation.clips.batch import RadarBatch
from nowcast.precipitation.units import THRESHOLD_NAMES

STILL_PIXELS = 0.5  # motion a step below which rain stands
WET_SHARE = 0.005  # of the frame that must be wet for a motion to be told
OCTANTS = ("E", "NE", "N", "NW", "W", "SW", "S", "SE")


def by_rain_rate(rates: NDArray[np.float64], mask: NDArray[np.bool_]) -> str:
    """Class of the last input frame's 99th percentile rain rate, by the benchmark's thresholds."""
    if not mask[-1].any():
        return "masked"
    rate = float(np.quantile(rates[-1][mask[-1]], 0.99))
    edges = [0.0, *(float(name) for name in THRESHOLD_NAMES)]
    place = int(np.searchsorted(edges, rate, side="right")) - 1
    upper = f" to {edges[place + 1]:g}" if place + 1 < len(edges) else " or more"
    return f"{edges[place]:g}{upper} mm/h"


def by_motion(rates: NDArray[np.float64], mask: NDArray[np.bool_]) -> str:
    """Octant towards which the rain moves between the last two input frames; row 0 is north.

    ``still`` below half a pixel a step, ``dry`` where there is too little rain to tell.
    """
    import cv2

    if len(rates) < 2:
        raise ConfigError("by_motion: expected at least 2 input frames, found 1")
    before, after = (
        np.log1p(np.where(m, r, 0.0)) for r, m in zip(rates[-2:], mask[-2:], strict=True)
    )
    if min((before > np.log1p(0.5)).mean(), (after > np.log1p(0.5)).mean()) < WET_SHARE:
        return "dry"
    window = cv2.createHanningWindow(before.shape[::-1], cv2.CV_64F)
    (east, south), _ = cv2.phaseCorrelate(before, after, window)
    if np.hypot(east, south) < STILL_PIXELS:
        return "still"
    return OCTANTS[round(np.arctan2(-south, east) / (np.pi / 4)) % 8]


def by_day(batch: RadarBatch) -> list[str]:
    """UTC date of each clip's init time."""
    return [name[:10] for name in batch.names()]


FIELDS: Mapping[str, Callable[[NDArray[np.float64], NDArray[np.bool_]], str]] = {
    "by_rain_rate": by_rain_rate,
    "by_motion": by_motion,
}
FEATURES = ("by_rain_rate", "by_day", "by_motion")


def groups(
    feature: str, batch: RadarBatch, rate: Callable[[NDArray[np.float64]], NDArray[np.float64]]
) -> list[str]:
    """The group of each clip.

    Args:
        feature: one of `FEATURES`.
        batch: the clips.
        rate: pixels in [0, 1] to mm/h.

    Raises:
        ConfigError: an unknown feature.
    """
    if feature == "by_day":
        return by_day(batch)
    if feature not in FIELDS:
        raise ConfigError(f"--features: expected one of {', '.join(FEATURES)}, found {feature!r}")
    frames = rate(batch.inputs[:, :, 0].double().numpy())
    masks = batch.mask[:, : batch.in_len, 0].numpy()
    return [FIELDS[feature](f, m) for f, m in zip(frames, masks, strict=True)]
