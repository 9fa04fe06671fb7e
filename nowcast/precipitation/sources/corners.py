"""Where pixels lie, from corners in longitude and latitude: through PROJ, over 180 E too."""

from functools import cache

import numpy as np
import pyproj

from nowcast.precipitation.archive.description import Grid

LonLat = tuple[float, float]


class UnknownProjectionError(ValueError):
    """PROJ does not know a projection, or a corner does not lie on it; the text says which."""


def project(projection: str, lon: float, lat: float) -> tuple[float, float]:
    """Longitude and latitude in degrees as the projection's x and y.

    Raises:
        UnknownProjectionError: PROJ does not know it, or it has no such point.
    """
    try:
        x, y = _proj(projection)(lon, lat)
    except (pyproj.exceptions.ProjError, RuntimeError, ValueError) as error:
        raise UnknownProjectionError(
            f"PROJ does not know the projection {projection!r}: {error}"
        ) from error
    if not np.isfinite([x, y]).all():
        raise UnknownProjectionError(
            f"the projection {projection!r} has no point at longitude {lon:g}, latitude {lat:g}"
        )
    return float(x), float(y)


def grid_between(
    projection: str, lower_left: LonLat, upper_right: LonLat, shape: tuple[int, int]
) -> Grid | None:
    """The grid of rows and columns between two outer corners; None if they are none of a grid.

    A grid over 180 E has its eastern edge, as a longitude, west of its western one: its x then goes
    on past the map's edge (``+over``), so that columns still run east.

    Args:
        projection: PROJ string.
        lower_left: longitude and latitude, degrees.
        upper_right: the same.
        shape: rows and columns.

    Raises:
        UnknownProjectionError: see `project`.
    """
    left, bottom = project(projection, *lower_left)
    right, top = project(projection, *upper_right)
    if right <= left and upper_right[0] < lower_left[0]:
        if _proj(projection).crs.is_geographic:
            right += 360
        else:
            projection = f"{projection} +over"
            left, bottom = project(projection, *lower_left)
            right, top = project(projection, upper_right[0] + 360, upper_right[1])
    width, height = (right - left) / shape[1], (top - bottom) / shape[0]
    if not (width > 0 and height > 0):
        return None
    return Grid(projection, left, top, width, height)


@cache
def _proj(projection: str) -> pyproj.Proj:
    return pyproj.Proj(projection)
