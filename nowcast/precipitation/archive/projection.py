"""What a grid's projection says of its pixels: the one place that turns its units into km."""

import warnings
from functools import lru_cache

import numpy as np
import pyproj
from jaxtyping import Float64

LEAST_KM, LARGEST_KM = 0.05, 100.0  # side of a pixel: below any radar's, above any composite's

LEAST_RADIUS_M = 1e5  # of the Earth: a smaller one is stated in km, as KNMI does
AXES = ("a", "b", "R")  # of the Earth
LENGTHS = (*AXES, "x_0", "y_0", "h")  # what PROJ takes in metres, whatever +units says
MOST_STRETCHED = 0.1  # a unit of the map that is so much off a unit of the ground is none of it


def in_metres(projection: str) -> str:
    """A PROJ string whose Earth has its size in metres.

    KNMI states radii in km and no unit, so coordinates are in km too: PROJ takes both for metres,
    which gives the right latitudes, on an Earth of 6 km.
    """
    stated = dict(token.lstrip("+").partition("=")[::2] for token in projection.split())
    if not _number(stated.get("a", stated.get("R", ""))) < LEAST_RADIUS_M:
        return projection
    unit_stated = "units" in stated or "to_meter" in stated
    for name in AXES if unit_stated else LENGTHS:
        if name in stated:
            stated[name] = f"{1000 * _number(stated[name]):.12g}"
    if not unit_stated:
        stated["units"] = "km"
    return " ".join(f"+{name}={value}" if value else f"+{name}" for name, value in stated.items())


def with_its_size(crs: pyproj.CRS) -> pyproj.CRS:
    """The same, on an Earth whose size is in metres, where its radii were stated in km."""
    if crs.ellipsoid is None or crs.ellipsoid.semi_major_metre >= LEAST_RADIUS_M:
        return crs
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PROJ's own form loses names
        stated = crs.to_proj4()
    return read_projection(stated.replace(" +units=m ", " "))  # PROJ adds it, the file says none


@lru_cache(maxsize=32)
def read_projection(projection: str) -> pyproj.CRS:
    """The coordinate system of a PROJ string, an EPSG code or WKT, with its Earth in metres.

    Raises:
        ValueError: pyproj cannot read it, or it has no horizontal axes.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the old form +init=epsg:4326 is read all the same
            crs = pyproj.CRS(in_metres(projection))
    except pyproj.exceptions.CRSError as error:
        raise ValueError(f"pyproj cannot read the projection {projection!r}: {error}") from error
    if not (crs.is_geographic or crs.is_projected):
        raise ValueError(f"expected a projection of a map, found {projection!r}, a {crs.type_name}")
    return crs


def pixel_km(
    projection: str,
    x_west: float,
    y_north: float,
    pixel_x: float,
    pixel_y: float,
    height: int,
    width: int,
) -> tuple[float, float]:
    """Width and height of a grid's pixel in km.

    In degrees it is what lies on the ground between the edges of the pixel at the grid's centre.
    In a projection it is the pixel's size in the projection's unit, as products are named (KNMI's
    1 km), unless the map stretches the ground there by more than `MOST_STRETCHED`, as Mercator
    does far from the equator: then it is the ground's too.

    Args:
        projection: PROJ string, EPSG code or WKT.
        x_west: outer edge of column 0, in the projection's unit.
        y_north: outer edge of row 0.
        pixel_x: width of a pixel in that unit.
        pixel_y: height of a pixel.
        height: rows.
        width: columns.

    Raises:
        ValueError: pyproj cannot read the projection, the grid's centre lies on no Earth, or a
            side is not within `LEAST_KM` and `LARGEST_KM`.
    """
    crs = read_projection(projection)
    x, y = x_west + width / 2 * pixel_x, y_north - height / 2 * pixel_y
    ground = _on_the_ground(crs, x, y, pixel_x, pixel_y)
    if crs.is_geographic:
        if ground is None:
            raise ValueError(
                f"expected a grid in degrees, found its centre at {x:g} E, {y:g} N; are its "
                "coordinates in m or km?"
            )
        sides = ground
    else:
        metres = crs.axis_info[0].unit_conversion_factor
        sides = (pixel_x * metres / 1000, pixel_y * metres / 1000)
        if ground is not None and any(
            not 1 / (1 + MOST_STRETCHED) <= true / side <= 1 + MOST_STRETCHED
            for true, side in zip(ground, sides, strict=True)
        ):
            sides = ground
    if not all(LEAST_KM <= side <= LARGEST_KM for side in sides):
        raise ValueError(
            f"expected pixels of {LEAST_KM:g} to {LARGEST_KM:g} km, found {sides[0]:.3g} x "
            f"{sides[1]:.3g} km ({pixel_x:g} x {pixel_y:g} in the unit of {projection!r}); is "
            "that the unit of the grid's numbers (+units=km, +units=m)?"
        )
    return sides


def to_degrees(
    crs: pyproj.CRS, x: Float64[np.ndarray, "*_"], y: Float64[np.ndarray, "*_"]
) -> tuple[Float64[np.ndarray, "*_"], Float64[np.ndarray, "*_"]]:
    """Longitude and latitude of places of a projected map; not finite off the map."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what a PROJ string cannot say of a CRS
        longitude, latitude = pyproj.Proj(crs)(x, y, inverse=True)
    return np.asarray(longitude), np.asarray(latitude)


def from_degrees(
    crs: pyproj.CRS, longitude: Float64[np.ndarray, "*_"], latitude: Float64[np.ndarray, "*_"]
) -> tuple[Float64[np.ndarray, "*_"], Float64[np.ndarray, "*_"]]:
    """Places on the map, in its unit; not finite where it has none. The inverse of `to_degrees`,
    of maps in degrees too."""
    if crs.is_geographic:
        unit = np.degrees(crs.axis_info[0].unit_conversion_factor)
        return np.asarray(longitude / unit), np.asarray(latitude / unit)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        x, y = pyproj.Proj(crs)(longitude, latitude)
    return np.asarray(x), np.asarray(y)


def _on_the_ground(
    crs: pyproj.CRS, x: float, y: float, pixel_x: float, pixel_y: float
) -> tuple[float, float] | None:
    """Width and height in km of a pixel around a place of the map; None off the map."""
    xs = np.array([x - pixel_x / 2, x + pixel_x / 2, x, x])
    ys = np.array([y, y, y - pixel_y / 2, y + pixel_y / 2])
    if crs.is_geographic:
        unit = np.degrees(crs.axis_info[0].unit_conversion_factor)
        longitude, latitude = xs * unit, ys * unit
        if abs(y * unit) > 90 or abs(x * unit) > 540:  # 540: a grid may count past the date line
            return None
        latitude = latitude.clip(-90, 90)
    else:
        longitude, latitude = to_degrees(crs, xs, ys)
        if not np.isfinite([longitude, latitude]).all():
            return None
    geod = crs.get_geod()
    if geod is None:
        return None
    lengths = geod.inv(longitude[::2], latitude[::2], longitude[1::2], latitude[1::2])[2]
    return float(lengths[0]) / 1000, float(lengths[1]) / 1000


def _number(text: str) -> float:
    """NaN where it is none: PROJ will say so."""
    try:
        return float(text)
    except ValueError:
        return float("nan")
