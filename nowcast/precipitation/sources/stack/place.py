"""Which way up a stack is and where it lies: as its file states, else as the user says.

Source: CF conventions 1.11, section 5.6 and appendix F (grid mappings); pyproj reads them.
"""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from pyproj import CRS
from pyproj.exceptions import CRSError

from nowcast.core.errors import ConfigError, DataError
from nowcast.precipitation.archive.description import Grid
from nowcast.precipitation.archive.projection import with_its_size
from nowcast.precipitation.sources.field import Request
from nowcast.precipitation.sources.hdf5 import attribute, path_of, text
from nowcast.precipitation.sources.measure import metres
from nowcast.precipitation.sources.stack.coordinates import Coordinate, coordinate, grows_along

LONLAT = "+proj=longlat +datum=WGS84 +no_defs"
_TEXT_KEYS = (
    "crs_wkt",
    "spatial_ref",
    "proj4",
    "proj4_params",
    "proj4text",
    "proj4_string",
    "projection_proj4_params",
    "epsg_code",
)
NOT_SAID = (
    "grid not stated: the stack has no x and y coordinates; give --projection and --bounds to "
    "place it on the map"
)
UNEVEN = 0.05  # of a pixel: single precision blurs coordinates; more is no grid
SAME = 0.5  # of a pixel: further apart are two places


@dataclass(frozen=True)
class Place:
    """Which way up the frames are, and where.

    Args:
        south_first: row 0 is the southernmost: rows are to be turned.
        east_first: column 0 is the easternmost: columns are to be turned.
        grid: of the turned frames; None where it is not stated.
        notes: what was taken from where, a line each.
    """

    south_first: bool
    east_first: bool
    grid: Grid | None
    notes: tuple[str, ...]


def said_place(shape: tuple[int, int], request: Request) -> Place:
    """Of a stack that states nothing of its place: as the user says.

    Raises:
        ConfigError: the options contradict each other, one lacks, or the projection is none.
    """
    grid = _said_grid(shape, request)
    notes = (_said_rows(request),) if grid is not None else (_said_rows(request), NOT_SAID)
    return Place(_said_south_first(request), False, grid, notes)


def stated_place(frames: Any, request: Request) -> Place:
    """Of an HDF5 stack: as its coordinates say, and where they are silent as the user says.

    Raises:
        ConfigError: see `said_place`.
        DataError: a coordinate neither ascends nor descends, axes stand in another order, the file
            leaves open which row is north, or it contradicts what the user says.
    """
    _said_south_first(request)  # --south-first --north-first is a mistake whatever the file says
    y, x = coordinate(frames, "y"), coordinate(frames, "x")
    south_first, notes = _rows(frames, y, request)
    east_first = False
    by = _grows(frames, x, "x")
    if by is not None and not by[0]:
        east_first = True
        notes += (f"stack: columns turned, {by[1]} descends from column 0 on",)
    grid, why = _stated_grid(frames, y, x, request)
    if grid is None and request.bounds is None and request.projection is None:
        return Place(south_first, east_first, None, (*notes, why or NOT_SAID))
    if grid is None:
        grid = _said_grid(frames.shape[1:], request, _crs_of(frames)[0])
    elif request.bounds is not None:
        said = _of_bounds(grid.projection, request.bounds, frames.shape[1:])
        _check_same(said, grid, frames)
    return Place(south_first, east_first, grid, notes)


def _said_south_first(request: Request) -> bool:
    if request.south_first and request.north_first:
        raise ConfigError("--south-first, --north-first: row 0 is one or the other; give one")
    return request.south_first


def _said_rows(request: Request) -> str:
    if request.south_first:
        return "stack: row 0 taken as the southernmost, as --south-first says"
    why = "--north-first says" if request.north_first else "--south-first was not given"
    return f"stack: row 0 taken as the northernmost, as {why}"


def _grows(frames: Any, found: Coordinate | None, axis: Any) -> tuple[bool, str] | None:
    """Whether a coordinate grows along its axis, and its name; None where the file is silent."""
    if found is not None and len(found.values) > 1 and not (found.is_index and found.grows):
        return found.grows, found.name
    return grows_along(frames, axis)


def _rows(frames: Any, y: Coordinate | None, request: Request) -> tuple[bool, tuple[str, ...]]:
    """Whether row 0 is the southernmost, and who says so."""
    stated = _grows(frames, y, "y")
    said = request.south_first or request.north_first
    if stated is None:
        if y is not None and len(y.values) > 1 and not said:
            raise DataError(
                f"{path_of(frames)}: expected {y.name} to say which row is north, found that it "
                "counts 0, 1, 2, ... without units or a standard_name; give --north-first if row 0 "
                "is the northernmost, --south-first if it is the southernmost"
            )
        return request.south_first, (_said_rows(request),)
    south_first, name = stated
    if said and request.south_first != south_first:
        given = "--south-first" if request.south_first else "--north-first"
        raise DataError(
            f"{path_of(frames)}: {name} {'ascends' if south_first else 'descends'}, so row 0 is "
            f"the {'southern' if south_first else 'northern'}most, but {given} says otherwise; "
            "leave the option out, or mend the coordinate"
        )
    if south_first:
        return True, (f"stack: rows turned, {name} ascends from row 0 on",)
    return False, (f"stack: row 0 is the northernmost, {name} descends from it on",)


# Grids


def _stated_grid(
    frames: Any, y: Coordinate | None, x: Coordinate | None, request: Request
) -> tuple[Grid | None, str | None]:
    """The grid that coordinates give, or why they give none."""
    if y is None or x is None:
        return None, None
    for found in (x, y):
        if found.is_index:
            return None, f"grid not stated: {found.name} counts pixels, without units"
    crs, why = _crs_of(frames)
    if crs is None and y.is_lonlat and x.is_lonlat:
        crs = CRS(LONLAT)
    if request.projection is not None:
        said = _crs(request.projection)
        if crs is not None and _text(crs) != _text(said):
            raise DataError(
                f"{path_of(frames)}: states the projection {_text(crs)}, but --projection says "
                f"{request.projection}; leave the option out, or mend the file"
            )
        crs = said
    if crs is None:
        return None, why or (
            f"grid not stated: {frames.name} has coordinates and no grid_mapping; give --projection"
        )
    edges = []
    for found in (x, y):
        factor = _factor(found, crs)
        if factor is None:
            return None, (
                f"grid not stated: {found.name} is in {found.units!r}, which is not a unit of "
                f"{_text(crs)}"
            )
        values = np.sort(found.values * factor)
        if len(values) < 2:
            return None, f"grid not stated: {found.name} has one value, which gives no pixel size"
        pixel = (values[-1] - values[0]) / (len(values) - 1)
        off = np.abs(values - (values[0] + pixel * np.arange(len(values))))
        if off.max() > UNEVEN * pixel:
            return None, f"grid not stated: {found.name} is not evenly spaced"
        edges.append((float(values[0] - pixel / 2), float(values[-1] + pixel / 2), float(pixel)))
    (west, _, pixel_x), (_, north, pixel_y) = edges
    return Grid(_text(crs), west, north, pixel_x, pixel_y), None


def _crs_of(frames: Any) -> tuple[CRS | None, str | None]:
    """The projection that the frames' ``grid_mapping`` states, or why there is none."""
    if "grid_mapping" not in frames.attrs:
        return None, None
    # "crs", or "crs: x y" in CF's longer form.
    name = text(frames, "grid_mapping").split(":")[0].split()[0:1]
    holder = None
    for group in (frames.parent, frames.file):
        holder = holder or (group.get(name[0]) if name else None)
    if holder is None:
        return None, f"grid not stated: the file lacks the grid mapping {' '.join(name)}"
    stated = {key: attribute(holder, key) for key in holder.attrs}
    said = ""
    # WKT and PROJ's own text are whole; CF's parameters are at times a few short.
    for key in (*_TEXT_KEYS, "grid_mapping_name"):
        if not stated.get(key):
            continue
        try:
            crs = CRS.from_cf(stated) if key == "grid_mapping_name" else CRS(stated[key])
            return with_its_size(crs), None
        except (CRSError, KeyError, TypeError, ValueError) as error:
            said = said or f"PROJ does not know the grid mapping {name[0]}: {error}"
    return None, f"grid not stated: {said or f'the grid mapping {name[0]} names no projection'}"


def _factor(found: Coordinate, crs: CRS) -> float | None:
    """What turns a coordinate's numbers into the projection's unit."""
    if crs.is_geographic:
        return 1.0 if not found.units or found.units.startswith("deg") else None
    if not found.units:
        return 1.0
    unit = float(crs.axis_info[0].unit_conversion_factor) if crs.axis_info else 1.0
    length = metres(found.units)
    return None if length is None else length / unit


def _crs(projection: str) -> CRS:
    try:
        return with_its_size(CRS(projection))
    except CRSError as error:
        raise ConfigError(
            f"--projection: expected what PROJ knows, e.g. '+proj=stere +lat_0=90' or EPSG:3035, "
            f"found {projection!r}: {error}"
        ) from error


def _text(crs: CRS) -> str:
    """A projection as PROJ writes it; what that cannot hold as WKT."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that PROJ's own form loses names
        return crs.to_proj4().removesuffix(" +type=crs") or crs.to_wkt()


def _said_grid(shape: tuple[int, ...], request: Request, stated: CRS | None = None) -> Grid | None:
    crs = stated if request.projection is None else _crs(request.projection)
    if crs is None and request.bounds is None:
        return None
    if crs is None or request.bounds is None:
        lacks = "--projection" if crs is None else "--bounds"
        raise ConfigError(
            f"{lacks}: a stack whose file states no grid needs both --projection and --bounds "
            "W,S,E,N, the outer edges in the projection's unit"
        )
    return _of_bounds(_text(crs), request.bounds, shape)


def _of_bounds(
    projection: str, bounds: tuple[float, float, float, float], shape: tuple[int, ...]
) -> Grid:
    west, south, east, north = bounds
    if east <= west and CRS(projection).is_geographic:
        east += 360  # over 180 E
    if not (np.isfinite(bounds).all() and west < east and south < north):
        raise ConfigError(
            "--bounds: expected the outer edges W,S,E,N with W below E and S below N, found "
            f"{','.join(f'{edge:g}' for edge in bounds)}"
        )
    return Grid(projection, west, north, (east - west) / shape[1], (north - south) / shape[0])


def _check_same(said: Grid, stated: Grid, frames: Any) -> None:
    apart = max(
        abs(said.x_west - stated.x_west) / stated.pixel_x,
        abs(said.y_north - stated.y_north) / stated.pixel_y,
        abs(said.pixel_x / stated.pixel_x - 1) * frames.shape[2],
        abs(said.pixel_y / stated.pixel_y - 1) * frames.shape[1],
    )
    if apart > SAME:
        raise DataError(
            f"{path_of(frames)}: its coordinates state the grid {stated}, but --bounds says {said};"
            " leave the option out, or mend the file"
        )
