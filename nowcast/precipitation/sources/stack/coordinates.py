"""The coordinates of a stack's rows and columns, as netCDF states them.

Source: CF conventions 1.11, chapters 4 and 5: a coordinate is known by ``standard_name``, ``axis``
or ``units``. Files without any of them are common, so a name such as ``y`` or ``lat`` will do.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from nowcast.core.errors import DataError
from nowcast.precipitation.sources.hdf5 import LARGEST, attribute, path_of
from nowcast.precipitation.sources.stack.packed import packing

Axis = Literal["y", "x"]
AXES: tuple[Axis, Axis] = ("y", "x")

_STANDARD_NAMES: dict[str, Axis] = {
    "projection_y_coordinate": "y",
    "latitude": "y",
    "grid_latitude": "y",
    "projection_x_coordinate": "x",
    "longitude": "x",
    "grid_longitude": "x",
}
_DEGREES: dict[str, Axis] = {
    **dict.fromkeys(("degrees_north", "degree_north", "degreen", "degreesn", "degree_n"), "y"),
    **dict.fromkeys(("degrees_east", "degree_east", "degreee", "degreese", "degree_e"), "x"),
}
_NAMES: dict[str, Axis] = {
    **dict.fromkeys(
        ("y", "yc", "lat", "lats", "latitude", "latitudes", "northing", "rlat", "nlat"), "y"
    ),
    **dict.fromkeys(
        ("x", "xc", "lon", "lons", "longitude", "longitudes", "easting", "rlon", "nlon"), "x"
    ),
}


@dataclass(frozen=True)
class Coordinate:
    """The coordinate of one axis.

    Args:
        name: of its dataset.
        values: of the pixels' middles, strictly ascending or descending; longitudes are unwrapped.
        is_index: it counts pixels and no attribute says that it is more.
        is_lonlat: latitude or longitude on the globe.
        units: as stated; empty if not.
    """

    name: str
    values: Float[np.ndarray, "_"]
    is_index: bool
    is_lonlat: bool
    units: str

    @property
    def grows(self) -> bool:
        """Whether the axis runs north (y) or east (x) from its first pixel on."""
        return bool(self.values[-1] > self.values[0])


def coordinate(frames: Any, axis: Axis) -> Coordinate | None:
    """The coordinate of the rows (y) or columns (x) of a stack; None where there is none.

    Args:
        frames: dataset (time, height, width).
        axis: which.

    Raises:
        DataError: it neither ascends nor descends, or the axes are (time, x, y).
    """
    number = 1 + AXES.index(axis)
    found = [item for item in _scales(frames, number) if role_of(item) is not None]
    if any(role_of(item) != axis for item in found):
        raise DataError(
            f"{path_of(frames)}: expected {frames.name} with the axes (time, y, x), found "
            f"{found[0].name} along axis {number}; write it with these axes"
        )
    if not found:
        found = [
            item
            for item in _datasets(frames)
            if item.shape == (frames.shape[number],) and role_of(item) == axis
        ]
    # Of several (y and latitude) the projection's own tells where the pixels lie.
    found.sort(key=lambda item: "projection" not in _stated(item, "standard_name"))
    return _read(found[0], axis) if found else None


def grows_along(frames: Any, axis: Axis) -> tuple[bool, str] | None:
    """Whether the latitude (y) or longitude (x) of a curvilinear grid grows along its axis.

    Returns:
        That, and the name of the dataset (height, width) which says so; None where none does.

    Raises:
        DataError: it changes along the other axis: they are (time, x, y).
    """
    shape = frames.shape[1:]
    for item in _datasets(frames):
        if item.shape != shape or role_of(item) != axis or item.size > LARGEST:
            continue
        values = packing(item).values(item[...], np.nan)
        column, row = values[:, shape[1] // 2], values[shape[0] // 2]
        if axis == "x":
            column, row = np.unwrap(column, period=360), np.unwrap(row, period=360)
        along, other = (column, row) if axis == "y" else (row, column)
        span, other_span = along[-1] - along[0], other[-1] - other[0]
        if abs(other_span) > 4 * abs(span):
            raise DataError(
                f"{path_of(frames)}: expected {frames.name} with the axes (time, y, x), but "
                f"{item.name} changes along the other axis; write it with these axes"
            )
        if np.isfinite(span) and span != 0:
            return bool(span > 0), item.name
    return None


def _read(item: Any, axis: Axis) -> Coordinate:
    values = packing(item).values(item[...], np.nan)
    is_lonlat = _is_lonlat(item)
    if is_lonlat and axis == "x":
        values = np.unwrap(values, period=360)
    steps = np.diff(values)
    if not np.isfinite(values).all() or not ((steps > 0).all() or (steps < 0).all()):
        raise DataError(
            f"{path_of(item)}: expected {item.name} to ascend or to descend throughout, found "
            f"{_shown(values)}; mend it, or leave it out and give --south-first or --north-first"
        )
    stated = any(key in item.attrs for key in ("units", "standard_name", "axis", "positive"))
    first = values[0]
    if _stated(item, "positive") == "down":
        values = -values
    return Coordinate(
        item.name,
        values,
        not stated and first in (0, 1) and bool((steps == 1).all()),
        is_lonlat,
        _stated(item, "units"),
    )


def scales(frames: Any, number: int) -> list[Any]:
    """What an axis names as its coordinates."""
    try:
        return list(frames.dims[number].values())
    except (KeyError, RuntimeError, ValueError):  # a scale that was removed
        return []


def _scales(frames: Any, number: int) -> list[Any]:
    shape = (frames.shape[number],)
    return [item for item in scales(frames, number) if item.shape == shape and _is_numeric(item)]


def _datasets(frames: Any) -> Iterator[Any]:
    """What lies beside the frames, then what lies at the root of the file."""
    groups = [frames.parent] if frames.parent == frames.file else [frames.parent, frames.file]
    for group in groups:
        for name in group:
            item = group.get(name)
            if hasattr(item, "shape") and _is_numeric(item):
                yield item


def _is_numeric(item: Any) -> bool:
    placeholder = _stated(item, "NAME").startswith("this is a netcdf dimension but not")
    return item.dtype.kind in "iuf" and not placeholder


def role_of(item: Any) -> Axis | None:
    """Which axis a coordinate is of, of HDF5 or xarray; None where nothing says so."""
    if (standard := _stated(item, "standard_name")) in _STANDARD_NAMES:
        return _STANDARD_NAMES[standard]
    if (axis := _stated(item, "axis")) in AXES:
        return "y" if axis == "y" else "x"
    if (units := _stated(item, "units")) in _DEGREES:
        return _DEGREES[units]
    return _NAMES.get(item.name.rsplit("/", 1)[-1].lower())


def _is_lonlat(item: Any) -> bool:
    standard = _stated(item, "standard_name")
    if standard:
        return standard in ("latitude", "longitude")
    if _stated(item, "units") in _DEGREES:
        return True
    name = item.name.rsplit("/", 1)[-1].lower()
    return name.startswith(("lat", "lon")) and _stated(item, "units") in ("", "degrees", "degree")


def _stated(item: Any, key: str) -> str:
    """A text attribute in lower case; empty where there is none."""
    return str(attribute(item, key)).strip().lower() if key in item.attrs else ""


def _shown(values: Float[np.ndarray, "_"]) -> str:
    some = ", ".join(f"{value:g}" for value in values[:4])
    return f"{some}, ..." if len(values) > 4 else some
