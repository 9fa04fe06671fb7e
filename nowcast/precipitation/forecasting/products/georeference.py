"""Where a forecast's pixels lie, in the words of the CF conventions (chapters 4 and 5.6)."""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyproj
from jaxtyping import Float32, Float64, Shaped

from nowcast.precipitation.archive.description import Grid
from nowcast.precipitation.archive.projection import in_metres, read_projection, to_degrees

Attributes = dict[str, Any]

GEOGRAPHIC = ("longlat", "latlong", "lonlat", "latlon")  # PROJ's names for no projection
SHORT_UNITS = {"metre": "m", "1000 metre": "km"}


@dataclass(frozen=True)
class Axis:
    """A coordinate along rows or columns: the pixels' centres, and their CF attributes."""

    centres: Shaped[np.ndarray, "_"]
    attributes: Attributes


@dataclass(frozen=True)
class Georeference:
    """Coordinates of a grid.

    Args:
        x: of the columns.
        y: of the rows, from north to south.
        mapping: attributes of the grid mapping variable; None where the place is not known.
        latitude: of each pixel's centre, degrees north, NaN off the map; None where `y` says it
            already, or the place is not known.
        longitude: likewise, degrees east.
    """

    x: Axis
    y: Axis
    mapping: Attributes | None = None
    latitude: Float32[np.ndarray, "height width"] | None = None
    longitude: Float32[np.ndarray, "height width"] | None = None


def georeference(grid: Grid | None, height: int, width: int) -> Georeference:
    """The coordinates of a frame's pixels.

    Where no grid is known they are the pixels' numbers, which stand for no place. A projection
    that pyproj does not know is handed on as it is written, and a comment says so; one that makes
    the pixels impossibly small or large has such a comment too.
    """
    if grid is None:
        return Georeference(
            x=Axis(np.arange(width, dtype=np.int32), _counted("column, from the west")),
            y=Axis(np.arange(height, dtype=np.int32), _counted("row, from the north")),
        )
    x = grid.x_west + (np.arange(width) + 0.5) * grid.pixel_x
    y = grid.y_north - (np.arange(height) + 0.5) * grid.pixel_y
    projection = in_metres(grid.projection)
    try:
        crs = read_projection(grid.projection)
    except ValueError as error:
        return _from_text(projection, x, y, str(error))
    axes = {axis["axis"]: axis for axis in crs.cs_to_cf()}
    for axis in axes.values():
        axis["units"] = SHORT_UNITS.get(axis["units"], axis["units"])
    latitude, longitude = None, None
    if not crs.is_geographic:
        longitude, latitude = (
            np.where(np.isfinite(degrees), degrees, np.nan).astype(np.float32)
            for degrees in to_degrees(crs, *np.meshgrid(x, y))
        )
    return Georeference(
        x=Axis(x, axes["X"]),
        y=Axis(y, axes["Y"]),
        mapping=_mapping(crs, projection, _size_fault(grid, height, width)),
        latitude=latitude,
        longitude=longitude,
    )


def _counted(long_name: str) -> Attributes:
    return {"long_name": long_name, "units": "1"}


def _size_fault(grid: Grid, height: int, width: int) -> str:
    """Why the pixels' size cannot be right; empty where it can."""
    try:
        grid.pixel_km(height, width)
    except ValueError as error:
        return str(error)
    return ""


def _mapping(crs: pyproj.CRS, projection: str, fault: str) -> Attributes:
    """CF's attributes, with what they cannot say, or what is at fault, in a comment; the WKT lacks
    nothing."""
    with warnings.catch_warnings(record=True) as lost:
        warnings.simplefilter("always")
        attributes = dict(crs.to_cf())
    attributes["proj4"] = projection
    said = "; ".join(str(warning.message) for warning in lost)
    if "grid_mapping_name" not in attributes:
        said = "CF has no name for this projection"
    elif attributes["grid_mapping_name"] == "polar_stereographic":
        # CF requires the pole; pyproj leaves it out where PROJ has a standard parallel instead.
        pole = float(np.copysign(90, attributes.get("standard_parallel", 90)))
        attributes.setdefault("latitude_of_projection_origin", pole)
    said = f"crs_wkt is complete, the other attributes are not: {said}" if said else ""
    if said or fault:
        attributes["comment"] = "; ".join(part for part in (fault, said) if part)
    return attributes


def _from_text(
    projection: str,
    x: Float64[np.ndarray, "width"],
    y: Float64[np.ndarray, "height"],
    comment: str,
) -> Georeference:
    stated = dict(token.lstrip("+").partition("=")[::2] for token in projection.split())
    if stated.get("proj") in GEOGRAPHIC:
        of_x = {"standard_name": "longitude", "units": "degrees_east"}
        of_y = {"standard_name": "latitude", "units": "degrees_north"}
    else:
        unit = stated.get("units", "m")
        of_x = {"standard_name": "projection_x_coordinate", "units": unit}
        of_y = {"standard_name": "projection_y_coordinate", "units": unit}
    return Georeference(
        x=Axis(x, {"axis": "X", **of_x}),
        y=Axis(y, {"axis": "Y", **of_y}),
        mapping={"proj4": projection, "comment": comment},
    )
