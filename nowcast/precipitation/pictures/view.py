"""What of a frame is drawn, how large, and the map on it: coasts, borders, cities, a scale bar."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import floor, log10
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image, ImageDraw

from nowcast.precipitation.archive.description import Description
from nowcast.precipitation.pictures.lettering import INK, font
from nowcast.precipitation.pictures.located import Located, located
from nowcast.precipitation.pictures.world import CREDIT

LINES = {"coast": (70, 70, 70), "lake": (110, 110, 110), "border": (150, 60, 120)}
MARK = (200, 0, 0)
HALO = (255, 255, 255)
TALLEST = 1.25  # height of a picture as a share of its width
MARGIN = 0.015  # around what has data, as a share of the larger side
MOST_PLACES = 12
TEXT_SHARE = 60  # widths of a picture in the height of its letters
LEAST_TEXT = 11  # pixels
NARROWEST_LABELLED = 300  # pixels; a narrower picture has lines only


class Mark(NamedTuple):
    """A place to point out.

    Args:
        name: written beside it.
        row: from the north.
        column: from the west.
    """

    name: str
    row: int
    column: int


@dataclass(frozen=True)
class View:
    """A part of a frame as a picture.

    Args:
        rows: first row, and the one after the last.
        columns: likewise.
        width: of the picture, pixels.
        height: of the picture, pixels.
        km_per_px: width of one pixel of the picture; None where it is not known.
        map: what lies in the frame; None where that is not known.
        marks: places to point out.
    """

    rows: tuple[int, int]
    columns: tuple[int, int]
    width: int
    height: int
    km_per_px: float | None
    map: Located | None
    marks: tuple[Mark, ...] = ()

    @classmethod
    def of(
        cls,
        description: Description,
        mask: Bool[np.ndarray, "height width"],
        width: int,
        marks: Sequence[Mark] = (),
    ) -> "View":
        """The part of an archive's frames in which `mask` has data, filling `width` pixels; less
        where it would be higher than `TALLEST` widths. Pixels that are no squares on the ground
        are none in the picture."""
        (top, bottom), (left, right) = (_extent(np.asarray(mask.any(axis))) for axis in (1, 0))
        sides = None if description.grid_fault is not None else description.pixel_km
        tall_km, wide_km = (sides or (1.0, 1.0))[::-1]
        ratio = (bottom - top) * tall_km / ((right - left) * wide_km)
        drawn = max(1, min(width, round(TALLEST * width / ratio)))
        return cls(
            (top, bottom),
            (left, right),
            drawn,
            max(1, round(drawn * ratio)),
            (right - left) * wide_km / drawn if sides else None,
            located(description),
            tuple(marks),
        )

    @property
    def thinned(self) -> bool:
        """Whether the picture has fewer pixels than the frame."""
        return self.columns[1] - self.columns[0] > self.width

    @property
    def credit(self) -> str | None:
        """Who made the map, if one is drawn."""
        return None if self.map is None else CREDIT

    def picture(self, frame: UInt8[np.ndarray, "height width 3"]) -> Image.Image:
        """A frame in RGB as the view shows it."""
        held = Image.fromarray(frame[slice(*self.rows), slice(*self.columns)])
        picture = held.resize((self.width, self.height), Image.Resampling.NEAREST)
        pen = ImageDraw.Draw(picture)
        thick = max(1, round(self.width / 800))
        for kind, line in self._lines:
            pen.line(line, LINES[kind], thick)
        if self.width >= NARROWEST_LABELLED:
            for name, x, y in self._places:
                self._dot(pen, name, x, y, INK)
            for mark in self.marks:
                x, y = self._on_picture(np.array([[mark.column + 0.5, mark.row + 0.5]]))[0]
                if 0 <= x < self.width and 0 <= y < self.height:
                    self._dot(pen, mark.name, x, y, MARK, bold=True)
            self._bar(pen)
        return picture

    @property
    def text(self) -> int:
        """Height of letters in the picture, pixels."""
        return max(LEAST_TEXT, round(self.width / TEXT_SHARE))

    def _on_picture(self, points: np.ndarray) -> np.ndarray:
        """x and y in the picture of columns and rows."""
        scale = (
            self.width / (self.columns[1] - self.columns[0]),
            self.height / (self.rows[1] - self.rows[0]),
        )
        return np.asarray((points - (self.columns[0], self.rows[0])) * scale)

    @cached_property
    def _lines(self) -> list[tuple[str, list[tuple[float, float]]]]:
        found = []
        for kind, line in self.map.lines if self.map else ():
            at = self._on_picture(line)
            if (at.min(0) <= (self.width, self.height)).all() and (at.max(0) >= 0).all():
                found.append((kind, [(float(x), float(y)) for x, y in at]))
        return found

    @cached_property
    def _places(self) -> list[tuple[str, float, float]]:
        """The largest cities whose names do not run into each other, nor out of the picture."""
        chosen: list[tuple[str, float, float]] = []
        taken: list[tuple[float, float, float, float]] = []
        if self.map is None:
            return chosen
        for name, (x, y) in zip(self.map.names, self._on_picture(self.map.places), strict=True):
            box = (
                x - self.text,
                y - 1.5 * self.text,
                x + 1.5 * self.text + font(self.text).getlength(name),
                y + 1.5 * self.text,
            )
            if box[0] < 0 or box[1] < 0 or box[2] > self.width or box[3] > self._bar_top:
                continue
            if any(
                box[0] < other[2] and other[0] < box[2] and box[1] < other[3] and other[1] < box[3]
                for other in taken
            ):
                continue
            taken.append(box)
            chosen.append((name, float(x), float(y)))
            if len(chosen) == MOST_PLACES:
                break
        return chosen

    def _dot(
        self,
        pen: ImageDraw.ImageDraw,
        name: str,
        x: float,
        y: float,
        colour: tuple[int, int, int],
        *,
        bold: bool = False,
    ) -> None:
        radius = max(2, self.text // 5)
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), colour, HALO)
        pen.text(
            (x + 2 * radius, y),
            name,
            colour,
            font(self.text, bold=bold),
            anchor="lm",
            stroke_width=2,
            stroke_fill=HALO,
        )

    @property
    def _bar_top(self) -> float:
        return float(self.height - 3 * self.text)

    def _bar(self, pen: ImageDraw.ImageDraw) -> None:
        """A bar of a round length in the lower left."""
        if self.km_per_px is None:
            return
        most = self.km_per_px * self.width / 4
        ten = 10.0 ** floor(log10(most))
        length = max(part * ten for part in (1, 2, 5) if part * ten <= most)
        left, end = self.text, self.text + length / self.km_per_px
        low, high = self.height - 0.8 * self.text, self.height - 1.2 * self.text
        name = f"{length:g} km"
        wide = max(end, left + font(self.text).getlength(name))
        pen.rectangle(
            (left / 2, self._bar_top, wide + left / 2, self.height - 0.4 * self.text), HALO
        )
        pen.rectangle((left, high, end, low), INK)
        pen.text((left, high - 2), name, INK, font(self.text), anchor="ls")


def _extent(has_data: Bool[np.ndarray, " side"]) -> tuple[int, int]:
    """First and last index with data, a margin around them; all, where there is none."""
    found = np.flatnonzero(has_data)
    if not len(found):
        return 0, len(has_data)
    margin = round(MARGIN * len(has_data))
    return max(0, int(found[0]) - margin), min(len(has_data), int(found[-1]) + 1 + margin)
