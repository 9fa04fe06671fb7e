"""What the numbers of an archive mean: ``archive.json`` at its root."""

import json
import math
from dataclasses import MISSING, asdict, dataclass, fields
from typing import Literal, get_args

from nowcast.core.errors import DataError
from nowcast.precipitation.archive.frames import LARGEST_PIXELS
from nowcast.precipitation.archive.projection import pixel_km
from nowcast.precipitation.archive.typed_json import parsed, typed

DESCRIPTION = "archive.json"
LONGEST_STEP_MINUTES = 24 * 60  # a day without a frame is no archive to forecast from

Quantity = Literal["reflectivity", "VIL"]

NOMINAL = "VIL is no rain rate: thresholds and rates in mm/h are nominal"


@dataclass(frozen=True)
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
    pixel_x: float
    pixel_y: float

    def __post_init__(self) -> None:
        for name in ("x_west", "y_north", "pixel_x", "pixel_y"):
            value = getattr(self, name)
            if not math.isfinite(value):
                raise ValueError(f"grid: {name}: expected a finite number, found {value}")
        if not (self.pixel_x > 0 and self.pixel_y > 0):
            raise ValueError(
                f"grid: expected positive pixel_x and pixel_y, found {self.pixel_x:g} and "
                f"{self.pixel_y:g}"
            )

    def pixel_km(self, height: int, width: int) -> tuple[float, float]:
        """Width and height of a pixel in km, of a grid of so many rows and columns; see
        `projection.pixel_km`."""
        place = (self.x_west, self.y_north, self.pixel_x, self.pixel_y)
        return pixel_km(self.projection, *place, height, width)


@dataclass(frozen=True)
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
    step_minutes: int
    height: int
    width: int
    zr_a: float
    zr_b: float
    quantity: Quantity = "reflectivity"
    grid: Grid | None = None
    history: tuple[str, ...] = ()
    valid_share: float | None = None

    def __post_init__(self) -> None:
        for name, largest in (
            ("step_minutes", LONGEST_STEP_MINUTES),
            ("height", LARGEST_PIXELS),
            ("width", LARGEST_PIXELS),
        ):
            value = getattr(self, name)
            if not 1 <= value <= largest:
                raise ValueError(f"{name}: expected 1 to {largest}, found {value!r:.40}")
        if self.height * self.width > LARGEST_PIXELS:
            raise ValueError(
                f"expected frames of at most {LARGEST_PIXELS} pixels, found {self.height}x"
                f"{self.width}"
            )
        if self.valid_share is not None and not 0 < self.valid_share <= 1:
            raise ValueError(
                f"valid_share: expected more than 0 and at most 1, found {self.valid_share}"
            )
        for name in ("zr_a", "zr_b"):
            value = getattr(self, name)
            if not 0 < value < math.inf:
                raise ValueError(f"{name}: expected a finite number above 0, found {value}")

    @property
    def note(self) -> str | None:
        """What must be said beside any threshold in mm/h; None where it means what it says."""
        return NOMINAL if self.quantity == "VIL" else None

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

    @classmethod
    def from_json(cls, text: str) -> "Description":
        """The description that `to_json` wrote.

        Raises:
            ValueError: not such a text, a key stands twice, or a field is out of its range.
            TypeError: a field is of another type.
        """
        held = typed(parsed(text), _KINDS, set(_KINDS) - _OPTIONAL)
        grid = held.pop("grid", None)
        if grid is not None:
            grid = Grid(**typed(grid, _GRID_KINDS, set(_GRID_KINDS), "grid: "))
        if held.get("quantity", "reflectivity") not in get_args(Quantity):
            raise ValueError(
                f"quantity: expected one of {', '.join(get_args(Quantity))}, found "
                f"{held['quantity']!r:.40}"
            )
        history = tuple(held.pop("history", ()))
        for line in history:
            typed({"history": line}, {"history": str}, {"history"})
        return cls(**held, grid=grid, history=history)

    def to_json(self) -> str:
        """As ``archive.json`` holds it; what is not stated is left out."""
        stated = {key: value for key, value in asdict(self).items() if value not in (None, ())}
        return json.dumps(stated, indent=2, ensure_ascii=False) + "\n"


# What JSON must hold under each key.
_KINDS: dict[str, type] = {
    "name": str,
    "credit": str,
    "step_minutes": int,
    "height": int,
    "width": int,
    "zr_a": float,
    "zr_b": float,
    "quantity": str,
    "grid": dict,
    "valid_share": float,
    "history": list,
}
_OPTIONAL = {field.name for field in fields(Description) if field.default is not MISSING}
_GRID_KINDS: dict[str, type] = {
    "projection": str,
    "x_west": float,
    "y_north": float,
    "pixel_x": float,
    "pixel_y": float,
}
