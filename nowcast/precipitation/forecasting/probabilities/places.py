"""Points and radii as a person writes them, and which pixels they are."""

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nowcast.core.errors import ConfigError
from nowcast.precipitation.archive.description import Description

NUMBER = r"([+-]?\d+(?:\.\d+)?)"
NAME = r"(?: ?, ?(?P<name>[^,\n]+))?"
DEGREES = re.compile(rf"{NUMBER} ?, ?{NUMBER}{NAME}", re.ASCII)
PIXEL = re.compile(rf"px: ?(\d+) ?, ?(\d+){NAME}", re.ASCII)
LENGTH = re.compile(r"(\d+(?:\.\d+)?) ?(km|px)", re.ASCII)


@dataclass(frozen=True)
class Point:
    """A pixel to say more of.

    Args:
        name: that it was given, else as it was asked for.
        row: from the north, the first is 0.
        column: from the west.
        latitude: that was asked for, degrees north; None of a row and a column.
        longitude: degrees east, likewise.
    """

    name: str
    row: int
    column: int
    latitude: float | None = None
    longitude: float | None = None


def points_of(texts: Sequence[str], description: Description) -> tuple[Point, ...]:
    """The pixels of points, and of those that ``.csv`` files list.

    Raises:
        ConfigError: as `located`; a file that is not there or lists no points; a name twice.
    """
    found: dict[str, Point] = {}
    for text in texts:
        for one in _listed(Path(text)) if text.strip().lower().endswith(".csv") else [text]:
            point = located(one, description)
            if point.name in found:
                raise ConfigError(
                    f"--at-point {one}: expected each point once, found {point.name} twice; leave "
                    "one out, or give it another name"
                )
            found[point.name] = point
    return tuple(found.values())


def _listed(path: Path) -> Iterator[str]:
    """The points of a CSV file: columns lat, lon and name by its header, else in this order."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = [row for row in csv.reader(file) if any(map(str.strip, row))]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(
            f"--at-point {path}: expected a CSV file of points, found none that can be read "
            f"({error}); is the path right?"
        ) from error
    columns = [0, 1, 2]
    header = [name.strip().lower() for name in rows[0]] if rows else []
    if any(name.startswith(("lat", "lon", "name")) for name in header):
        rows = rows[1:]
        first = [name[:3] for name in header]
        columns = [first.index(key) if key in first else -1 for key in ("lat", "lon", "nam")]
    if not rows or -1 in columns[:2]:
        raise ConfigError(
            f"--at-point {path}: expected lines LAT,LON,NAME or columns lat, lon and name, found "
            f"{'no line' if not rows else ','.join(header)}"
        )
    for row in rows:
        cells = [row[column].strip() for column in columns if 0 <= column < len(row)]
        yield ",".join(cells[:2] + [name for name in cells[2:] if name])


def located(text: str, description: Description, option: str = "--at-point") -> Point:
    """The pixel of ``52.10,5.18`` (latitude and longitude, degrees) or ``px:240,200`` (row and
    column), with a name behind it or without: ``52.10,5.18,De Bilt``.

    Raises:
        ConfigError: neither, degrees where no grid is stated, or a point outside the frame.
    """
    height, width = description.height, description.width
    pixel, degrees = PIXEL.fullmatch(text.strip()), DEGREES.fullmatch(text.strip())
    latitude = longitude = None
    if pixel is not None:
        row, column = int(pixel[1]), int(pixel[2])
    elif degrees is not None:
        latitude, longitude = float(degrees[1]), float(degrees[2])
        row, column = _pixel(f"{option} {text}", latitude, longitude, description)
    else:
        raise ConfigError(
            f"{option}: expected latitude and longitude such as 52.10,5.18 or a row and a column "
            f"such as px:240,200, found {text!r}"
        )
    if not (0 <= row < height and 0 <= column < width):
        raise ConfigError(
            f"{option} {text}: expected a point within the {height}x{width} frame, found row "
            f"{row}, column {column}; latitude comes first"
        )
    named = (pixel or degrees or {"name": None})["name"]
    return Point((named or text).strip(), row, column, latitude, longitude)


def _pixel(
    asked: str, latitude: float, longitude: float, description: Description
) -> tuple[int, int]:
    grid = description.grid
    if grid is None or description.grid_fault is not None:
        raise ConfigError(
            f"{asked}: expected px:ROW,COLUMN, since {description.name} states no grid "
            f"that can be read; write for instance px:{description.height // 2},"
            f"{description.width // 2}, or state the grid in archive.json"
        )
    if not (abs(latitude) <= 90 and abs(longitude) <= 360):
        raise ConfigError(
            f"{asked}: expected degrees, latitude first, found none; for a row and a "
            f"column write px:{latitude:g},{longitude:g}"
        )
    places = grid.pixels(np.array(latitude), np.array(longitude), description.width)
    if not np.isfinite(places).all():
        raise ConfigError(f"{asked}: expected a point on the archive's map, found none")
    return int(np.floor(places[0])), int(np.floor(places[1]))


def radius_px(text: str, description: Description) -> tuple[float, float]:
    """A radius such as ``5km`` or ``8px`` in rows and in columns.

    Raises:
        ConfigError: neither, km where the size of a pixel is not known, or more than the frame.
    """
    found = _rows_and_columns(text, description)
    height, width = description.height, description.width
    if found[0] >= height or found[1] >= width:
        raise ConfigError(
            f"--radius {text}: expected less than the frame, {height}x{width} pixels, found "
            f"{found[0]:.3g} rows and {found[1]:.3g} columns; choose a smaller one"
        )
    return found


def _rows_and_columns(text: str, description: Description) -> tuple[float, float]:
    match = LENGTH.fullmatch(text.strip())
    if match is None or float(match[1]) == 0:
        raise ConfigError(f"--radius: expected a length above 0 such as 5km or 8px, found {text!r}")
    length = float(match[1])
    if match[2] == "px":
        return length, length
    sides = description.pixel_km if description.grid_fault is None else None
    if sides is None:
        raise ConfigError(
            f"--radius {text}: expected pixels such as 5px, since {description.name} states no "
            "grid that can be read; write px, or state the grid in archive.json"
        )
    return length / sides[1], length / sides[0]
