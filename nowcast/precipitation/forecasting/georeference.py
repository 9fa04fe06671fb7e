"""Where a forecast's pixels lie, in the words of the CF conventions (chapters 4 and 5.6)."""

import importlib
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float32, Float64, Shaped

from nowcast.precipitation.description import Grid

Attributes = dict[str, Any]

GEOGRAPHIC = ("longlat", "latlong", "lonlat", "latlon")  # PROJ's names for no projection
LEAST_RADIUS_M = 1e5  # of the Earth: a smaller one is stated in km, as KNMI does
LENGTHS = ("a", "b", "R", "x_0", "y_0")  # what PROJ takes in metres, whatever +units says
SHORT_UNITS = {"metre": "m", "1000 metre": "km"}
NO_PYPROJ = (
    "projection as a PROJ string only: with the optional package pyproj (pip install pyproj) the "
    "attributes of CF, WKT and the latitude and longitude of each pixel are stated too"
)


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
            already, the place is not known or pyproj is not installed.
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
    that pyproj does not know, or any without pyproj, is handed on as its PROJ string.
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
        pyproj = importlib.import_module("pyproj")
    except ImportError:
        return _from_text(projection, x, y, NO_PYPROJ)
    try:
        crs = pyproj.CRS(projection)
    except pyproj.exceptions.CRSError as error:
        return _from_text(projection, x, y, f"pyproj cannot read this projection: {error}")
    axes = {axis["axis"]: axis for axis in crs.cs_to_cf()}
    for axis in axes.values():
        axis["units"] = SHORT_UNITS.get(axis["units"], axis["units"])
    latitude, longitude = None, None
    if not crs.is_geographic:
        places = pyproj.Proj(projection)(*np.meshgrid(x, y), inverse=True)
        longitude, latitude = (
            np.where(np.isfinite(degrees), degrees, np.nan).astype(np.float32) for degrees in places
        )
    return Georeference(
        x=Axis(x, axes["X"]),
        y=Axis(y, axes["Y"]),
        mapping=_mapping(crs, projection),
        latitude=latitude,
        longitude=longitude,
    )


def in_metres(projection: str) -> str:
    """A PROJ string whose Earth has its size in metres.

    KNMI states radii in km and no unit, so coordinates are in km too: PROJ takes both for metres,
    which gives the right latitudes, on an Earth of 6 km.
    """
    stated = dict(token.lstrip("+").partition("=")[::2] for token in projection.split())
    radius = stated.get("a", stated.get("R", ""))
    if "units" in stated or not _number(radius) < LEAST_RADIUS_M:
        return projection
    for name in LENGTHS:
        if name in stated:
            stated[name] = f"{1000 * _number(stated[name]):.12g}"
    stated["units"] = "km"
    return " ".join(f"+{name}={value}" if value else f"+{name}" for name, value in stated.items())


def _number(text: str) -> float:
    """NaN where it is none: PROJ will say so."""
    try:
        return float(text)
    except ValueError:
        return float("nan")


def _counted(long_name: str) -> Attributes:
    return {"long_name": long_name, "units": "1"}


def _mapping(crs: Any, projection: str) -> Attributes:
    """CF's attributes, with what they cannot say in a comment; the WKT lacks nothing."""
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
    if said:
        attributes["comment"] = f"crs_wkt is complete, the other attributes are not: {said}"
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
