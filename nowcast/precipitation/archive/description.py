"""What the numbers of an archive mean: ``archive.json`` at its root."""

import json
from dataclasses import asdict, replace
from typing import Annotated, Any, Literal

import numpy as np
from jaxtyping import Float64
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from nowcast.core.errors import DataError
from nowcast.precipitation.archive.frames import LARGEST_PIXELS
from nowcast.precipitation.archive.projection import (
    from_degrees,
    pixel_km,
    read_projection,
    to_degrees,
)
from nowcast.precipitation.units import Calibration

DESCRIPTION = "archive.json"
LONGEST_STEP_MINUTES = 24 * 60  # a day without a frame is no archive to forecast from

Quantity = Literal["reflectivity", "VIL"]
Positive = Annotated[float, Field(gt=0)]
Side = Annotated[int, Field(ge=1, le=LARGEST_PIXELS)]

_STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

NOMINAL = "VIL is no rain rate: thresholds and rates in mm/h are nominal"


@dataclass(frozen=True, config=_STRICT)
class Grid:
    """Where an archive's pixels lie on the map.

    Args:
        projection: PROJ string, EPSG code or WKT.
        x_west: outer edge of column 0, in the projection's unit (usually m or km).
        y_north: outer edge of row 0.
        pixel_x: width of a pixel, positive.
        pixel_y: height of a pixel, positive.

    Raises:
        ValueError: a number is not finite, or a pixel has no size.
    """

    projection: str
    x_west: float
    y_north: float
    pixel_x: Positive
    pixel_y: Positive

    def pixel_km(self, height: int, width: int) -> tuple[float, float]:
        """Width and height of a pixel in km, of a grid of so many rows and columns; see
        `projection.pixel_km`."""
        place = (self.x_west, self.y_north, self.pixel_x, self.pixel_y)
        return pixel_km(self.projection, *place, height, width)

    def degrees(
        self, row: Float64[np.ndarray, "*_"], column: Float64[np.ndarray, "*_"]
    ) -> tuple[Float64[np.ndarray, "*_"], Float64[np.ndarray, "*_"]]:
        """Latitude and longitude of places in a frame; 0, 0 is its outer corner in the north-west.

        Not finite off the map; a longitude is from -180 up to 180. Raises ValueError where pyproj
        cannot read the projection.
        """
        crs = read_projection(self.projection)
        x = np.asarray(self.x_west + column * self.pixel_x)
        y = np.asarray(self.y_north - row * self.pixel_y)
        if crs.is_geographic:
            unit = np.degrees(crs.axis_info[0].unit_conversion_factor)
            longitude, latitude = x * unit, y * unit
        else:
            longitude, latitude = to_degrees(crs, x, y)
        return np.asarray(latitude), np.asarray((longitude + 180) % 360 - 180)

    def pixels(
        self,
        latitude: Float64[np.ndarray, "*_"],
        longitude: Float64[np.ndarray, "*_"],
        width: int,
    ) -> tuple[Float64[np.ndarray, "*_"], Float64[np.ndarray, "*_"]]:
        """Row and column, with fractions, of places in degrees: the inverse of `degrees`.

        Of a map in degrees the column is the one nearest to the middle of a frame of so many
        columns, whether it counts to 180 or to 360. Raises ValueError as `degrees`.
        """
        crs = read_projection(self.projection)
        x, y = from_degrees(crs, longitude, latitude)
        if crs.is_geographic:
            turn = 360 / np.degrees(crs.axis_info[0].unit_conversion_factor)
            middle = self.x_west + width / 2 * self.pixel_x
            x = middle + (x - middle + turn / 2) % turn - turn / 2
        row, column = (self.y_north - y) / self.pixel_y, (x - self.x_west) / self.pixel_x
        return np.asarray(row), np.asarray(column)


@dataclass(frozen=True, config=_STRICT)
class Description:
    """What an archive's numbers mean (``archive.json``).

    Args:
        name: a short name for tables.
        credit: who made the data and must be named.
        step_minutes: time between frames, minutes; at most `LONGEST_STEP_MINUTES`.
        height: rows of a frame, row 0 north; a frame has at most `frames.LARGEST_PIXELS` pixels.
        width: columns of a frame.
        zr_a: Z in mm^6 m^-3 at 1 mm/h.
        zr_b: exponent of the Z-R relation.
        quantity: what a pixel is. ``VIL`` (vertically integrated liquid, SEVIR's 8-bit levels) is
            no rain rate: thresholds in mm/h are then nominal.
        grid: None where the place is not known.
        valid_share: of the frames; the exclude mask that nowcast made leaves the pixels with data
            in so many. None where the mask came with the data.
        history: how the frames came from their source, a line a step.

    Raises:
        ValueError: a field is out of its range.
    """

    name: str
    credit: str
    step_minutes: Annotated[int, Field(ge=1, le=LONGEST_STEP_MINUTES)]
    height: Side
    width: Side
    zr_a: Positive
    zr_b: Positive
    quantity: Quantity = "reflectivity"
    grid: Grid | None = None
    history: tuple[str, ...] = ()
    valid_share: Annotated[float, Field(gt=0, le=1)] | None = None

    def __post_init__(self) -> None:
        if self.height * self.width > LARGEST_PIXELS:
            raise ValueError(
                f"expected frames of at most {LARGEST_PIXELS} pixels, found {self.height}x"
                f"{self.width}"
            )

    @property
    def note(self) -> str | None:
        """What must be said beside any threshold in mm/h; None where it means what it says."""
        return NOMINAL if self.quantity == "VIL" else None

    @property
    def calibration(self) -> Calibration:
        """The Z-R relation of its pixels."""
        return Calibration(self.zr_a, self.zr_b)

    @property
    def pixel_km(self) -> tuple[float, float] | None:
        """Width and height of a pixel in km (`projection.pixel_km`); None where no grid is stated.

        Raises:
            DataError: the grid's projection cannot be read, or its pixels have no possible size.
        """
        if self.grid is None:
            return None
        try:
            return self.grid.pixel_km(self.height, self.width)
        except ValueError as error:
            raise DataError(
                f"grid of {self.name}: {error} Correct grid in {DESCRIPTION}, or remove it there"
            ) from error

    @property
    def km_per_pixel(self) -> float | None:
        """Height of a pixel in km; None where it is not known: no grid is stated, or one with a
        `grid_fault`."""
        sides = self.pixel_km if self.grid_fault is None else None
        return None if sides is None else sides[1]

    @property
    def grid_fault(self) -> str | None:
        """Why the size of its pixels cannot be told, where a grid is stated that does not tell."""
        try:
            _ = self.pixel_km
        except DataError as error:
            return str(error)
        return None

    def part(self, top: int, left: int, height: int, width: int) -> "Description":
        """Of a part of its frames: so many rows and columns from a corner on."""
        grid = self.grid and replace(
            self.grid,
            x_west=self.grid.x_west + left * self.grid.pixel_x,
            y_north=self.grid.y_north - top * self.grid.pixel_y,
        )
        return replace(self, height=height, width=width, grid=grid)

    @classmethod
    def from_json(cls, text: str) -> "Description":
        """The description that `to_json` wrote.

        Raises:
            ValueError: no JSON, a key twice, or fields that are unknown, missing, of another type
                or out of range; all of them are named.
        """
        try:
            json.loads(text, object_pairs_hook=_each_key_once)  # pydantic takes the last of two
            return TypeAdapter(cls).validate_json(text)
        except ValidationError as error:
            raise ValueError("; ".join(map(_problem, error.errors()))) from error
        except RecursionError as error:
            raise ValueError("expected an object with keys, found one nested too deeply") from error

    def to_json(self) -> str:
        """As ``archive.json`` holds it; what is not stated is left out."""
        stated = {key: value for key, value in asdict(self).items() if value not in (None, ())}
        return json.dumps(stated, indent=2, ensure_ascii=False) + "\n"


def _each_key_once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    content: dict[str, object] = {}
    for key, value in pairs:
        if key in content:
            raise ValueError(f"{key}: expected this key once, found it twice")
        content[key] = value
    return content


def _problem(details: Any) -> str:
    """One error of pydantic in a line: key, what was expected, what was found."""
    key = ".".join(map(str, details["loc"]))
    if details["type"] == "unexpected_keyword_argument":
        return f"{key}: unknown key"
    shown = "" if isinstance(details["input"], dict) else f" (found {details['input']!r:.40})"
    said = details["msg"].removeprefix("Value error, ")
    return f"{key}: {said}{shown}" if key else f"{said}{shown}"
