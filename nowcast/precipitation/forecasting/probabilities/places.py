"""Points and radii as a person writes them, and which pixels they are."""

import re
from dataclasses import dataclass

import numpy as np
import pyproj

from nowcast.core.errors import ConfigError
from nowcast.precipitation.archive.description import Description
from nowcast.precipitation.archive.projection import read_projection

NUMBER = r"([+-]?\d+(?:\.\d+)?)"
DEGREES = re.compile(rf"{NUMBER} ?, ?{NUMBER}", re.ASCII)
PIXEL = re.compile(r"px: ?(\d+) ?, ?(\d+)", re.ASCII)
LENGTH = re.compile(r"(\d+(?:\.\d+)?) ?(km|px)", re.ASCII)


@dataclass(frozen=True)
class Point:
    """A pixel to say more of.

    Args:
        name: as it was asked for.
        row: from the north, the first is 0.
        column: from the west.
    """

    name: str
    row: int
    column: int


def located(text: str, description: Description, option: str = "--at-point") -> Point:
    """The pixel of ``52.10,5.18`` (latitude and longitude, degrees) or ``px:240,200`` (row and
    column).

    Raises:
        ConfigError: neither, degrees where no grid is stated, or a point outside the frame.
    """
    height, width = description.height, description.width
    pixel, degrees = PIXEL.fullmatch(text.strip()), DEGREES.fullmatch(text.strip())
    if pixel is not None:
        row, column = int(pixel[1]), int(pixel[2])
    elif degrees is not None:
        row, column = _pixel(f"{option} {text}", float(degrees[1]), float(degrees[2]), description)
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
    return Point(text.strip(), row, column)


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
    crs = read_projection(grid.projection)
    if crs.is_geographic:
        x, y = np.radians([longitude, latitude]) / crs.axis_info[0].unit_conversion_factor
    else:
        x, y = pyproj.Proj(crs)(longitude, latitude)
    places = ((grid.y_north - y) / grid.pixel_y, (x - grid.x_west) / grid.pixel_x)
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
