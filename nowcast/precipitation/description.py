"""What the numbers of an archive mean: ``archive.json`` at its root."""

import json
from dataclasses import MISSING, asdict, dataclass, fields
from typing import Literal, get_args

from nowcast.precipitation.units import Calibration

DESCRIPTION = "archive.json"

KM_PER_DEGREE = 111.2  # of latitude, on a sphere of 6371 km

Quantity = Literal["reflectivity", "VIL"]


@dataclass(frozen=True)
class Grid:
    """Where an archive's pixels lie on the map.

    Args:
        projection: PROJ string.
        x_west: outer edge of column 0, in the projection's unit (usually m or km).
        y_north: outer edge of row 0.
        pixel_x: width of a pixel, positive.
        pixel_y: height of a pixel, positive.
    """

    projection: str
    x_west: float
    y_north: float
    pixel_x: float
    pixel_y: float

    def __post_init__(self) -> None:
        if not (self.pixel_x > 0 and self.pixel_y > 0):
            raise ValueError("grid: pixel_x and pixel_y must be positive")


@dataclass(frozen=True)
class Description:
    """What an archive's numbers mean (``archive.json``).

    Args:
        name: a short name for tables.
        credit: who made the data and must be named.
        step_minutes: time between frames, minutes.
        height: rows of a frame, row 0 north.
        width: columns of a frame.
        zr_a: Z in mm^6 m^-3 at 1 mm/h.
        zr_b: exponent of the Z-R relation.
        quantity: what a pixel is. ``VIL`` (vertically integrated liquid, SEVIR's 8-bit levels) is
            no rain rate: thresholds in mm/h are then nominal.
        grid: None where the place is not known.
        history: how the frames came from their source, a line a step.
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

    def __post_init__(self) -> None:
        whole = (self.step_minutes, self.height, self.width)
        if not all(isinstance(value, int) for value in whole):
            raise TypeError("step_minutes, height and width must be whole numbers")
        if self.step_minutes < 1 or self.height < 1 or self.width < 1:
            raise ValueError("step_minutes, height and width must be at least 1")
        if self.quantity not in get_args(Quantity):
            raise ValueError(f"quantity: expected one of {', '.join(get_args(Quantity))}")
        Calibration(self.zr_a, self.zr_b)

    @property
    def km_per_pixel(self) -> float | None:
        """Height of a pixel in km; None where no grid is stated."""
        if self.grid is None:
            return None
        projection = self.grid.projection
        if "+proj=longlat" in projection or "+proj=latlong" in projection:
            return self.grid.pixel_y * KM_PER_DEGREE
        return self.grid.pixel_y * (1.0 if "+units=km" in projection else 1e-3)

    @classmethod
    def from_json(cls, text: str) -> "Description":
        """The description that `to_json` wrote.

        Raises:
            ValueError, TypeError: not such a text.
        """
        content = json.loads(text)
        if not isinstance(content, dict):
            raise TypeError(f"expected an object with keys, found {type(content).__name__}")
        known = {field.name for field in fields(cls)}
        needed = {field.name for field in fields(cls) if field.default is MISSING}
        if not needed <= set(content) <= known:
            raise ValueError(
                f"expected the keys {', '.join(sorted(needed))}; "
                f"missing {sorted(needed - set(content))}, "
                f"unknown {sorted(set(content) - known)}"
            )
        if content.get("grid") is not None:
            content["grid"] = Grid(**content["grid"])
        return cls(**content | {"history": tuple(content.get("history", ()))})

    def to_json(self) -> str:
        """As ``archive.json`` holds it; what is not stated is left out."""
        stated = {key: value for key, value in asdict(self).items() if value not in (None, ())}
        return json.dumps(stated, indent=2, ensure_ascii=False) + "\n"
