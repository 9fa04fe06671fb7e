"""An xarray object as a source: what it holds and where, as its attributes and coordinates say.

They are read as those of the netCDF file that it would be (`place`, `packed`). Known besides are
the names and attributes of pysteps 2: ``precip_intensity``, ``precip_accum``, ``reflectivity``;
``projection``, ``precip_var``, ``accutime``, ``zr_a``, ``zr_b``.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from nowcast.core.errors import ConfigError
from nowcast.precipitation.archive.description import Grid
from nowcast.precipitation.archive.frames import Moments
from nowcast.precipitation.sources.field import Field, Request, Source
from nowcast.precipitation.sources.hdf5 import text
from nowcast.precipitation.sources.measure import Measure, is_rain, measure
from nowcast.precipitation.sources.stack.coordinates import role_of
from nowcast.precipitation.sources.stack.packed import Packing, packing
from nowcast.precipitation.sources.stack.place import Place, stated_place

if TYPE_CHECKING:
    from xarray import DataArray, Dataset, Variable

NAMES = ("precip_intensity", "precip_accum", "reflectivity")
TIMES = ("time", "t", "valid_time", "datetime", "date")
CRS_KEYS = ("crs_wkt", "spatial_ref", "grid_mapping_name", "proj4")
FRAMES, CRS = "frames_of_array", "crs_of_array"  # in the header


@dataclass(frozen=True)
class XarrayRain:
    """An xarray object, read.

    Args:
        source: of its frames, row 0 north and column 0 west.
        array: its variable, ``time y x`` in its own directions.
        dims: what it calls those.
        place: which way up it is, and where.
        mapping: its grid mapping variable, by name; empty where it has none.
        zr: a and b of its Z-R relation, where it states them.
        packing: how its numbers become values, where they were not decoded.
    """

    source: Source
    array: "DataArray"
    dims: tuple[str, str, str]
    place: Place
    mapping: Mapping[str, "Variable"]
    zr: tuple[float, float] | None
    packing: Packing


def read_xarray(
    data: "DataArray | Dataset",
    times: Moments | None = None,
    unit: str | None = None,
    grid: Grid | None = None,
) -> XarrayRain:
    """Read what an xarray object says of itself; frames are computed when they are asked for.

    Args:
        data: rain rates, sums or reflectivity over time and two directions of space.
        times: of the frames, where it has no coordinate of times.
        unit: where it states none; None: mm/h.
        grid: where its coordinates state none.

    Raises:
        ConfigError: it holds no or several such variables, other dimensions, no times, another
            unit than is said, or values that are transformed.
        DataError: a coordinate contradicts itself.
    """
    array, others = _chosen(data)
    dims = _dims(array)
    array = array.transpose(*dims)
    name = str(array.name or "frames")
    transform = array.attrs.get("transform")
    if transform not in (None, "", "None"):
        raise ConfigError(
            f"{name}: expected rain or reflectivity as it is, found it transformed ({transform}); "
            "give it as it was before pysteps.utils.transformation"
        )
    mapping = _mapping(array, others)
    with _header(array, others, mapping) as frames:
        stated = text(frames, "units") if "units" in frames.attrs else None
        packed = packing(frames)
        place = stated_place(frames, Request())
    found = _measure(name, stated, unit)
    notes = (
        *((f"{name} states no units: taken for mm/h",) if stated is unit is None else ()),
        *(note for note in place.notes if note.startswith("grid not stated: ") and mapping),
    )
    if grid is not None and place.grid is not None:
        raise ConfigError(
            f"grid: {name} states where it lies in its coordinates; leave grid out, or remove them"
        )
    moments, minutes = _times(array, others, dims[0], times, found)
    source = _source(array, moments, minutes, packed, found, place, grid or place.grid, notes)
    pair = tuple(array.attrs.get(key) for key in ("zr_a", "zr_b"))
    zr = None if None in pair else (float(pair[0] or 0), float(pair[1] or 0))
    return XarrayRain(source, array, dims, place, mapping, zr, packed)


def _chosen(data: "DataArray | Dataset") -> tuple["DataArray", "dict[str, Variable]"]:
    """The variable that holds rain, and what lies beside it by name."""
    from xarray import DataArray

    if isinstance(data, DataArray):
        return data, {str(name): held.variable for name, held in data.coords.items()}
    first = data.attrs.get("precip_var")
    names = [name for name in (first, *NAMES) if name in data.data_vars]
    if not names:
        names = [
            name
            for name, held in data.data_vars.items()
            if held.ndim >= 3 and is_rain(str(held.attrs.get("units", "")))
        ]
        if len(names) != 1:
            shown = ", ".join(map(str, names or data.data_vars))
            raise ConfigError(
                f"data: expected one variable of rain or reflectivity over time, y and x, found "
                f'{shown or "none"}; give one of them, e.g. data["{next(iter(names), "rain")}"]'
            )
    array = data[names[0]]
    if "projection" in data.attrs and "projection" not in data.variables:
        array = array.assign_attrs(projection=data.attrs["projection"])
    return array, {str(name): held for name, held in data.variables.items()}


def _dims(array: "DataArray") -> tuple[str, str, str]:
    """What it calls time, rows and columns."""
    times: list[str] = []
    rows: list[str] = []
    columns: list[str] = []
    rest: list[str] = []
    for dim in map(str, array.dims):
        held = array[dim]
        role = role_of(held)
        is_time = held.dtype.kind in "MO" or dim.lower() in TIMES
        (times if is_time else {"y": rows, "x": columns, None: rest}[role]).append(dim)
    for axis in (rows, columns):  # dimensions of other names, in their order
        if not axis and rest:
            axis.append(rest.pop(0))
    if not len(times) == len(rows) == len(columns) == 1 or rest:
        raise ConfigError(
            f"{array.name or 'frames'}: expected the dimensions time, y and x, found "
            f"{', '.join(map(str, array.dims))}; select one of the others, e.g. .isel(member=0)"
        )
    return times[0], rows[0], columns[0]


def _mapping(array: "DataArray", others: "Mapping[str, Variable]") -> "dict[str, Variable]":
    """Its grid mapping: the one that it names, else the only one there is."""
    named = str(array.attrs.get("grid_mapping") or array.encoding.get("grid_mapping") or "")
    name = named.split(":")[0].strip()
    if name in others:
        return {name: others[name]}
    found = [
        name
        for name, held in others.items()
        if held.ndim == 0 and any(key in held.attrs for key in CRS_KEYS)
    ]
    return {found[0]: others[found[0]]} if len(found) == 1 else {}


@contextmanager
def _header(
    array: "DataArray", others: "Mapping[str, Variable]", mapping: "Mapping[str, Variable]"
) -> Iterator[h5py.Dataset]:
    """The frames of the netCDF file that it would be, without their numbers."""
    with h5py.File(
        str(array.name or "data"), "w", driver="core", backing_store=False, block_size=2**16
    ) as file:
        frames = file.create_dataset(FRAMES, (1, *array.shape[1:]), array.dtype)
        _state(frames, array.attrs)
        spatial = set(map(str, array.dims[1:]))
        for name, held in others.items():
            if held.dims and set(held.dims) <= spatial and held.dtype.kind in "iuf":
                values = np.asarray(held.values)
                if held.attrs or not _counts(values):
                    _state(file.create_dataset(name, data=values), held.attrs)
        for number, dim in enumerate(map(str, array.dims[1:]), 1):
            if dim in file:
                file[dim].make_scale(dim)
                frames.dims[number].attach_scale(file[dim])
        stated = {key: value for held in mapping.values() for key, value in held.attrs.items()}
        if "projection" in array.attrs:  # pysteps' own, of which its grid mapping lacks a part
            stated["proj4"] = array.attrs["projection"]
        if stated:
            _state(file.create_dataset(CRS, data=0), stated)
            frames.attrs["grid_mapping"] = CRS
        yield frames


def _counts(values: np.ndarray) -> bool:
    """Whether numbers without attributes are those of rows or columns, which are no place."""
    return values.ndim == 1 and np.array_equal(values, np.arange(len(values)))


def _state(item: Any, attributes: Mapping[Any, Any]) -> None:
    for key, value in attributes.items():
        if isinstance(value, str) or np.asarray(value).dtype.kind in "iuf":
            item.attrs[str(key)] = value


def _measure(name: str, stated: str | None, said: str | None) -> Measure:
    try:
        found = None if stated is None else measure(stated)
        given = None if said is None else measure(said)
    except ValueError as error:
        raise ConfigError(f"{name}: {error} as its units; convert the values") from error
    if found is not None and given is not None and not given.same(found):
        raise ConfigError(
            f"unit: {name} states the units {stated!r}, but unit says {said!r}; leave unit out"
        )
    return found or given or Measure("mm_h")


def _times(
    array: "DataArray",
    others: "Mapping[str, Variable]",
    dim: str,
    times: Moments | None,
    found: Measure,
) -> tuple[Moments, float | None]:
    """When the frames are of, and the minutes that each sums rain over; None where not stated."""
    stated = array.attrs.get("accutime") if found.unit == "mm" else None
    minutes = None if stated is None else float(stated)
    if times is not None:
        return times, minutes
    if dim not in array.coords:
        raise ConfigError(
            f"times: expected a coordinate {dim} of {array.name or 'the frames'}, found none; give "
            "times, the valid time of each frame in UTC"
        )
    held = array.coords[dim]
    moments = np.asarray(held.values)
    bounds = others.get(str(held.attrs.get("bounds") or held.encoding.get("bounds") or ""))
    if found.unit == "mm" and bounds is not None and bounds.dtype.kind == "M":
        first, last = np.asarray(bounds.values).astype("datetime64[s]").T
        moments, minutes = last, float((last[0] - first[0]) / np.timedelta64(1, "m"))
    if moments.dtype.kind == "O":  # cftime's
        moments = np.array([str(moment) for moment in moments], dtype="datetime64[s]")
    return moments, minutes


def _source(
    array: "DataArray",
    moments: Moments,
    minutes: float | None,
    packed: Packing,
    found: Measure,
    place: Place,
    grid: Grid | None,
    notes: tuple[str, ...],
) -> Source:
    name = str(array.name or "frames")
    dry = -np.inf if found.unit == "dBZ" and not found.linear else 0.0
    rows, columns = (-1 if turned else 1 for turned in (place.south_first, place.east_first))

    def read(position: int) -> Field:
        frame = found.convert(packed.values(array[position].values, dry))[::rows, ::columns]
        return Field(moments[position], frame, found.unit, minutes, grid, found)

    return Source(name, moments, read, lambda position: f"{name}, frame {position}", notes)
