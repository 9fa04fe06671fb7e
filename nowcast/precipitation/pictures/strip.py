"""A clip as three rows of pictures: what a forecaster saw, what came, and what it said."""

import numpy as np
from jaxtyping import Float, UInt8

from nowcast.precipitation.clips.batch import RadarBatch
from nowcast.precipitation.pictures.render import strip
from nowcast.precipitation.units import PIXEL_LEVELS, Calibration

FRAMES_PER_ROW = 5


def strip_of(
    batch: RadarBatch,
    prediction: Float[np.ndarray, "batch out_len height width"],
    clip: int,
    step_minutes: int,
    calibration: Calibration,
) -> UInt8[np.ndarray, "high wide 3"]:
    """Input, truth and forecast of a clip, RGB; `FRAMES_PER_ROW` frames of each, first to last.

    Args:
        batch: that it is of.
        prediction: of the batch, pixels in [0, 1].
        clip: its place in the batch.
        step_minutes: time between frames.
        calibration: of the pixels.
    """
    first = batch.in_len
    before, after = _spread(1 - first, 0), _spread(1, prediction.shape[1])
    truth = (batch.levels[clip, :, 0].float() / PIXEL_LEVELS).numpy()
    mask = batch.mask[clip, :, 0].numpy()

    def seen(leads: list[int]) -> list[tuple[int, np.ndarray, np.ndarray]]:
        return [
            (lead * step_minutes, truth[first - 1 + lead], mask[first - 1 + lead]) for lead in leads
        ]

    ahead = [
        (lead * step_minutes, prediction[clip, lead - 1], mask[first - 1 + lead]) for lead in after
    ]
    rows = [("input", seen(before)), ("truth", seen(after)), ("forecast", ahead)]
    return strip(rows, calibration)


def _spread(first: int, last: int) -> list[int]:
    """`FRAMES_PER_ROW` leads from first to last, as even as whole numbers are."""
    return [int(lead) for lead in np.rint(np.linspace(first, last, FRAMES_PER_ROW))]
