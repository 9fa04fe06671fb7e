"""Radar frames as pictures, in a colour for each band of rain rate."""

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8
from skimage.util import montage

from nowcast.precipitation.units import PIXEL_LEVELS, Calibration

# Lower edge of each band in mm/h, and its RGB colour.
BANDS: tuple[tuple[float, tuple[int, int, int]], ...] = (
    (0.0, (250, 250, 250)),
    (0.1, (205, 229, 245)),
    (0.5, (146, 197, 235)),
    (1.0, (82, 150, 214)),
    (2.0, (38, 99, 181)),
    (5.0, (47, 160, 72)),
    (10.0, (245, 221, 66)),
    (20.0, (243, 148, 38)),
    (30.0, (219, 47, 39)),
    (50.0, (158, 23, 96)),
    (100.0, (78, 20, 110)),
)
MASKED = (176, 176, 176)
INK = (20, 20, 20)
LABEL_HEIGHT = 16  # pixels


def colours(
    pixels: Float[np.ndarray, "height width"],
    mask: Bool[np.ndarray, "height width"],
    calibration: Calibration,
) -> UInt8[np.ndarray, "height width 3"]:
    """A frame in colour, RGB; masked pixels are grey."""
    rate = calibration.rate_from_pixel(np.arange(PIXEL_LEVELS + 1) / PIXEL_LEVELS)
    edges = [edge for edge, _ in BANDS]
    palette = np.array([colour for _, colour in BANDS], dtype=np.uint8)
    by_level = palette[np.searchsorted(edges, rate, side="right") - 1]
    levels = np.rint(np.clip(pixels, 0, 1) * PIXEL_LEVELS).astype(np.uint8)
    return np.where(mask[..., None], by_level[levels], np.array(MASKED, np.uint8))


def strip(
    rows: list[tuple[str, list[tuple[int, np.ndarray, np.ndarray]]]], calibration: Calibration
) -> UInt8[np.ndarray, "height width 3"]:
    """Rows of frames with a label over each and a legend below, RGB.

    Args:
        rows: name of each row and its frames as (minutes from init time, pixels in [0, 1], mask);
            all rows have as many frames.
        calibration: Z-R relation of the pixels.
    """
    tiles = [
        _labelled(colours(pixels, mask, calibration), f"{name} {minutes:+d} min")
        for name, frames in rows
        for minutes, pixels, mask in frames
    ]
    grid = montage(
        np.stack(tiles),
        grid_shape=(len(rows), len(rows[0][1])),
        padding_width=2,
        fill=(255, 255, 255),
        channel_axis=-1,
    )
    return np.concatenate([grid, _legend(grid.shape[1])])


def side_by_side(
    tiles: list[tuple[str, Float[np.ndarray, "height width"], Bool[np.ndarray, "height width"]]],
    calibration: Calibration,
    columns: int | None = None,
) -> UInt8[np.ndarray, "tall wide 3"]:
    """Frames as (title, pixels in [0, 1], mask), with a legend below, RGB.

    They stand in one row, or in rows of `columns`.
    """
    frames = [_labelled(colours(pixels, mask, calibration), text) for text, pixels, mask in tiles]
    per_row = columns or len(frames)
    grid = montage(
        np.stack(frames),
        grid_shape=(-(-len(frames) // per_row), per_row),
        padding_width=2,
        fill=(255, 255, 255),
        channel_axis=-1,
    )
    return np.concatenate([grid, _legend(grid.shape[1])])


def _labelled(frame: np.ndarray, text: str) -> np.ndarray:
    side = max(frame.shape[1], 120)  # narrower frames are drawn larger, or no label would fit
    scaled = cv2.resize(
        frame,
        (side, round(frame.shape[0] * side / frame.shape[1])),
        interpolation=cv2.INTER_NEAREST,
    )
    label = np.full((LABEL_HEIGHT, side, 3), 255, dtype=np.uint8)
    cv2.putText(label, text, (2, 12), cv2.FONT_HERSHEY_SIMPLEX, 0.36, INK, 1, cv2.LINE_AA)
    return np.concatenate([label, scaled])


def _legend(width: int) -> np.ndarray:
    legend = np.full((28, width, 3), 255, dtype=np.uint8)
    step = min(48, (width - 44) // len(BANDS))
    for position, (edge, colour) in enumerate(BANDS):
        left = 4 + position * step
        cv2.rectangle(legend, (left, 2), (left + step - 3, 12), colour, -1)
        cv2.rectangle(legend, (left, 2), (left + step - 3, 12), (120, 120, 120), 1)
        cv2.putText(
            legend, f"{edge:g}", (left, 25), cv2.FONT_HERSHEY_SIMPLEX, 0.34, INK, 1, cv2.LINE_AA
        )
    end = 4 + len(BANDS) * step
    cv2.putText(legend, "mm/h", (end, 12), cv2.FONT_HERSHEY_SIMPLEX, 0.34, INK, 1, cv2.LINE_AA)
    return legend
