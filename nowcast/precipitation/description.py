"""What the numbers of an archive mean: ``archive.json`` at its root."""

import json
import math
from dataclasses import MISSING, asdict, dataclass, fields
from typing import Any, Literal, get_args

from nowcast.precipitation.frames import LARGEST_PIXELS

DESCRIPTION = "archive.json"
LONGEST_STEP_MINUTES = 24 * 60  # a day without a frame is no archive to forecast from

Quantity = Literal["reflectivity", "VIL"]

NOMINAL = "VIL is no rain rate: thresholds and rates in mm/h are nominal"


@dataclass(frozen=True)
class Grid:
    """Where an archive's pixels lie on the map.

    Args:
        projection: PROJ string.
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
        for name in ("zr_a", "zr_b"):
            value = getattr(self, name)
            if not 0 < value < math.inf:
                raise ValueError(f"{name}: expected a finite number above 0, found {value}")

    @property
    def note(self) -> str | None:
        """What must be said beside any threshold in mm/h; None where it means what it says."""
        return NOMINAL if self.quantity == "VIL" else None

    @classmethod
    def from_json(cls, text: str) -> "Description":
        """The description that `to_json` wrote.

        Raises:
            ValueError: not such a text, a key stands twice, or a field is out of its range.
            TypeError: a field is of another type.
        """
        content = json.loads(text, object_pairs_hook=_each_key_once)
        typed = _typed(content, _KINDS, {name for name in _KINDS if name not in _OPTIONAL})
        grid = typed.pop("grid", None)
        if grid is not None:
            grid = Grid(**_typed(grid, _GRID_KINDS, set(_GRID_KINDS), "grid: "))
        if typed.get("quantity", "reflectivity") not in get_args(Quantity):
            raise ValueError(
                f"quantity: expected one of {', '.join(get_args(Quantity))}, found "
                f"{typed['quantity']!r:.40}"
            )
        history = tuple(typed.pop("history", ()))
        for line in history:
            _typed({"history": line}, {"history": str}, set())
        return cls(**typed, grid=grid, history=history)

    def to_json(self) -> str:
        """As ``archive.json`` holds it; what is not stated is left out."""
        stated = {key: value for key, value in asdict(self).items() if value not in (None, ())}
        return json.dumps(stated, indent=2, ensure_ascii=False) + "\n"


def _each_key_once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"{key}: expected this key once, found it twice")
        found[key] = value
    return found


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
_WORDS: dict[type, str] = {
    str: "text",
    int: "a whole number",
    float: "a number",
    list: "a list of lines",
    dict: "an object with keys",
}


def _typed(
    content: object, kinds: dict[str, type], needed: set[str], place: str = ""
) -> dict[str, Any]:
    """The content with whole numbers as floats where floats belong."""
    if not isinstance(content, dict):
        raise TypeError(f"{place}expected an object with keys, found {type(content).__name__}")
    if not needed <= set(content) <= set(kinds):
        raise ValueError(
            f"{place}expected the keys {', '.join(sorted(needed))}; "
            f"missing {sorted(needed - set(content))}, unknown {sorted(set(content) - set(kinds))}"
        )
    typed = {}
    for key, value in content.items():
        kind = kinds[key]
        if key == "grid" and value is None:
            continue
        fits = isinstance(value, (int, float) if kind is float else kind)
        if not fits or isinstance(value, bool):  # True is an int to Python
            raise TypeError(f"{place}{key}: expected {_WORDS[kind]}, found {value!r:.40}")
        typed[key] = _float(value) if kind is float else value
    return typed


def _float(value: int | float) -> float:
    try:
        return float(value)
    except OverflowError:  # a whole number larger than any float
        return math.inf
