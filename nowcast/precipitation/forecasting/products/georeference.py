"""Where a forecast's pixels lie, in the words of the CF conventions (chapters 4 and 5.6)."""

import warnings
from typing import Any

import numpy as np
import pyproj

from nowcast.precipitation.archive.description import Grid
from nowcast.precipitation.archive.projection import in_metres, read_projection, to_degrees

Attributes = dict[str, Any]
Coordinates = dict[str, tuple[tuple[str, ...], np.ndarray, Attributes]]  # as xarray takes them

SHORT_UNITS = {"metre": "m", "1000 metre": "km"}


def georeference(
    grid: Grid | None, height: int, width: int
) -> tuple[Coordinates, Attributes | None]:
    """The coordinates of a frame's pixels, and the attributes of the grid mapping variable.

    ``x`` and ``y`` are the pixels' centres, ``y`` from north to south. A projected map has ``lat``
    and ``lon`` too, in degrees, NaN off the map. Without a grid, ``x`` and ``y`` count pixels and
    there is no grid mapping. A projection that pyproj cannot read is kept as it is written, with a
    comment; pixels that are impossibly small or large get such a comment too.
    """
    if grid is None:
        return _axes(
            np.arange(width, dtype=np.int32),
            np.arange(height, dtype=np.int32),
            {"long_name": "column, from the west", "units": "1"},
            {"long_name": "row, from the north", "units": "1"},
        ), None
    x = grid.x_west + (np.arange(width) + 0.5) * grid.pixel_x
    y = grid.y_north - (np.arange(height) + 0.5) * grid.pixel_y
    proj4 = {"proj4": in_metres(grid.projection)}
    try:
        crs = read_projection(grid.projection)
    except ValueError as error:
        unknown = {"long_name": "in the unit of the projection"}
        return _axes(x, y, {"axis": "X", **unknown}, {"axis": "Y", **unknown}), {
            **proj4,
            "comment": str(error),
        }
    axes = {axis["axis"]: axis for axis in crs.cs_to_cf()}
    for axis in axes.values():
        axis["units"] = SHORT_UNITS.get(axis["units"], axis["units"])
    coordinates = _axes(x, y, axes["X"], axes["Y"])
    if not crs.is_geographic:
        for name, long_name, towards, degrees in zip(
            ("lon", "lat"),
            ("longitude", "latitude"),
            ("east", "north"),
            to_degrees(crs, *np.meshgrid(x, y)),
            strict=True,
        ):
            coordinates[name] = (
                ("y", "x"),
                np.where(np.isfinite(degrees), degrees, np.nan).astype(np.float32),
                {
                    "standard_name": long_name,
                    "long_name": long_name,
                    "units": f"degrees_{towards}",
                },
            )
    mapping = proj4 | _mapping(crs)
    try:
        grid.pixel_km(height, width)
    except ValueError as error:
        mapping["comment"] = "; ".join([str(error), *filter(None, [mapping.get("comment")])])
    return coordinates, mapping


def _axes(x: np.ndarray, y: np.ndarray, of_x: Attributes, of_y: Attributes) -> Coordinates:
    return {"y": (("y",), y, of_y), "x": (("x",), x, of_x)}


def _mapping(crs: pyproj.CRS) -> Attributes:
    """CF's attributes; a comment says what they lack. The WKT is complete."""
    with warnings.catch_warnings(record=True) as lost:
        warnings.simplefilter("always")
        attributes: Attributes = dict(crs.to_cf())
    missing = "; ".join(str(warning.message) for warning in lost)
    if "grid_mapping_name" not in attributes:
        missing = "CF has no name for this projection"
    elif attributes["grid_mapping_name"] == "polar_stereographic":
        # CF requires the pole; pyproj leaves it out where PROJ has a standard parallel instead.
        pole = float(np.copysign(90, attributes.get("standard_parallel", 90)))
        attributes.setdefault("latitude_of_projection_origin", pole)
    if missing:
        attributes["comment"] = f"crs_wkt is complete, the other attributes are not: {missing}"
    return attributes
