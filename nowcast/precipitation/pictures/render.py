"""Radar frames as pictures, in a colour for each band of rain rate."""

from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image, ImageDraw
from skimage.util import montage

from nowcast.precipitation.pictures.lettering import INK, font
from nowcast.precipitation.pictures.view import View
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
NARROWEST = 160  # pixels; a narrower frame is drawn larger, or no label could be read
# Text height as a share of a frame's width: a strip of five frames is shown 400 pixels wide.
STRIP_TEXT, TILE_TEXT, VIEW_TEXT = 0.19, 0.09, 0.05
LEAST_TEXT = 11  # pixels
GAP = 2  # pixels between frames
HOLD_MS = 1200  # on the last picture of an animation


def colours(
    pixels: Float[np.ndarray, "height width"],
    mask: Bool[np.ndarray, "height width"],
    calibration: Calibration,
) -> UInt8[np.ndarray, "height width 3"]:
    """A frame in colour, RGB; masked pixels are grey."""
    rate = calibration.rate_by_level()
    edges = [edge for edge, _ in BANDS]
    palette = np.array([colour for _, colour in BANDS], dtype=np.uint8)
    by_level = palette[np.searchsorted(edges, rate, side="right") - 1]
    levels = np.rint(np.clip(pixels, 0, 1) * PIXEL_LEVELS).astype(np.uint8)
    return np.where(mask[..., None], by_level[levels], np.array(MASKED, np.uint8))


def strip(
    rows: list[tuple[str, list[tuple[int, np.ndarray, np.ndarray]]]], calibration: Calibration
) -> UInt8[np.ndarray, "height width 3"]:
    """Rows of frames, each under its name and the times of its frames, with a legend below, RGB.

    Args:
        rows: name of each row and its frames as (minutes from init time, pixels in [0, 1], mask);
            all rows have as many frames.
        calibration: Z-R relation of the pixels.
    """
    drawn = [
        (
            name,
            [
                _labelled(colours(pixels, mask, calibration), f"{minutes:+d} min", STRIP_TEXT)
                for minutes, pixels, mask in frames
            ],
        )
        for name, frames in rows
    ]
    parts = []
    for name, tiles in drawn:
        row = _grid(tiles, len(tiles))
        size = round(STRIP_TEXT * tiles[0].shape[1])
        parts += [_text(name, row.shape[1], size), row]
    return np.concatenate([*parts, _legend(parts[-1].shape[1], size)])


def side_by_side(
    tiles: list[tuple[str, Float[np.ndarray, "height width"], Bool[np.ndarray, "height width"]]],
    calibration: Calibration,
    columns: int | None = None,
    view: View | None = None,
) -> UInt8[np.ndarray, "tall wide 3"]:
    """Frames as (title, pixels in [0, 1], mask), with a legend below, RGB.

    They stand in one row, or in rows of `columns`, each as `view` shows it, or else as it is.
    """
    share = TILE_TEXT if view is None else VIEW_TEXT
    frames = []
    for text, pixels, mask in tiles:
        frame = colours(pixels, mask, calibration)
        drawn = frame if view is None else np.asarray(view.picture(frame))
        frames.append(_labelled(drawn, text, share))
    grid = _grid(frames, columns or len(frames))
    parts = [grid, _legend(grid.shape[1], round(share * frames[0].shape[1]))]
    if view is not None and view.credit is not None:
        parts.append(_text(view.credit, grid.shape[1], LEAST_TEXT))
    return np.concatenate(parts)


def write_gif(
    pictures: list[Image.Image], path: Path, frame_ms: int, *, optimize: bool = True
) -> None:
    """Write pictures as a GIF that plays again and again; `optimize` may reorder its palette."""
    pictures[0].save(
        path,
        format="GIF",
        save_all=True,
        append_images=pictures[1:],
        duration=[frame_ms] * (len(pictures) - 1) + [HOLD_MS],
        loop=0,
        optimize=optimize,
    )


def _grid(tiles: list[np.ndarray], columns: int) -> np.ndarray:
    grid: np.ndarray = montage(
        np.stack(tiles),
        grid_shape=(-(-len(tiles) // columns), columns),
        padding_width=GAP,
        fill=(255, 255, 255),
        channel_axis=-1,
    )
    return grid


def _labelled(frame: np.ndarray, text: str, share: float) -> np.ndarray:
    side = max(frame.shape[1], NARROWEST)
    scaled = cv2.resize(
        frame,
        (side, max(1, round(frame.shape[0] * side / frame.shape[1]))),
        interpolation=cv2.INTER_NEAREST,
    )
    return np.concatenate([_text(text, side, round(share * side)), scaled])


def _text(text: str, width: int, size: int) -> np.ndarray:
    """A line of black text on white, ``height width RGB``, smaller where it would not fit."""
    band = Image.new("RGB", (width, round(1.4 * size)), "white")
    while size > LEAST_TEXT and font(size, bold=True).getlength(text) > width - 4:
        size -= 1
    while len(text) > 1 and font(size, bold=True).getlength(text) > width - 4:
        text = f"{text[:-2]}…"
    ImageDraw.Draw(band).text((2, band.height / 2), text, INK, font(size, bold=True), anchor="lm")
    return np.asarray(band)


def _legend(width: int, size: int) -> np.ndarray:
    """The bands, each with its lower edge below it, and the unit."""
    labels = [f"{edge:g}" for edge, _ in BANDS]
    unit = "mm/h"

    def step(size: int) -> int:
        return (width - 12 - round(font(size, bold=True).getlength(unit))) // len(BANDS)

    while size > LEAST_TEXT and max(map(font(size, bold=True).getlength, labels)) > step(size) - 4:
        size -= 1
    each = step(size)
    legend = Image.new("RGB", (width, round(2.6 * size) + 6), "white")
    draw = ImageDraw.Draw(legend)
    for position, (label, (_, colour)) in enumerate(zip(labels, BANDS, strict=True)):
        left = 4 + position * each
        draw.rectangle((left, 4, left + each - 3, 4 + size), colour, (120, 120, 120))
        draw.text((left, 6 + size), label, INK, font(size, bold=True))
    draw.text((4 + len(BANDS) * each, 4 + size / 2), unit, INK, font(size, bold=True), anchor="lm")
    return np.asarray(legend)
