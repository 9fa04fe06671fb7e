"""ODIM-HDF5, the European exchange format: composites and images on a grid.

Source: OPERA Data Information Model for HDF5, version 2.4 (EUMETNET OPERA). ``gain`` and
``offset`` give the step from raw number to value; ``undetect`` is dry, ``nodata`` is no data (and
wins where a file gives both the same number). The first row is the northernmost.
"""

import re
from datetime import datetime
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from nowcast.core.errors import DataError
from nowcast.precipitation.description import Grid
from nowcast.precipitation.importers.field import (
    NO_GRID,
    Field,
    Request,
    Source,
    Unit,
    files_in,
    project,
    source_of_files,
    to_minute,
    wanted_unit,
)
from nowcast.precipitation.importers.hdf5 import (
    SUFFIXES,
    child,
    image,
    number,
    opened,
    scaled,
    text,
)

EXPECTED = "an ODIM-HDF5 composite"
OBJECTS = ("COMP", "IMAGE")  # on a grid; scans and volumes are polar
QUANTITIES: dict[str, Unit] = {"DBZH": "dBZ", "TH": "dBZ", "RATE": "mm_h", "ACRR": "mm"}


def read_odim(source: Path, request: Request) -> list[Source]:
    """ODIM files as one source.

    The moment of a rain sum (ACRR) is its end (``enddate``, ``endtime``); that of a rate or a
    reflectivity is the nominal time of the product (``what/date``, ``what/time``).

    Raises:
        ConfigError: no unit is stated, or there is no file.
        DataError: a file is damaged, polar, holds no or several fields in `request.unit`, or two
            hold the same moment.
    """
    unit = wanted_unit(request, "odim")
    found = []
    placed = True
    for path in files_in(source, SUFFIXES):
        with opened(path, EXPECTED) as file:
            found.append((_times(file, path, unit)[0], path))
            placed = placed and _grid(file, path, _chosen(file, path, unit)[1]) is not None
    moment = "end of the sum" if unit == "mm" else "nominal time of the product"
    notes: tuple[str, ...] = (f"ODIM: moment = {moment}",)
    if not placed:
        notes += (NO_GRID,)
    return [source_of_files(source.name, found, lambda path: _read(path, unit), notes)]


def _read(path: Path, unit: Unit) -> Field:
    with opened(path, EXPECTED) as file:
        moment, minutes = _times(file, path, unit)
        dataset, data = _chosen(file, path, unit)
        raw = image(child(data, "data"))
        what = _whats(dataset, data)
        gain, offset = (number(_holder(what, key, path), key) for key in ("gain", "offset"))
        # Fields of floating point name NaN as their code (MeteoSwiss does).
        nodata, undetect = (
            number(_holder(what, key, path), key, finite=False) for key in ("nodata", "undetect")
        )
        values = scaled(raw, gain, offset)
        values[_is_code(raw, undetect)] = -np.inf if unit == "dBZ" else 0.0
        values[_is_code(raw, nodata)] = np.nan
        grid = _grid(file, path, data)
    return Field(moment, values, unit, minutes, grid)


def _is_code(raw: NDArray[Any], code: float) -> NDArray[np.bool_]:
    return np.asarray(np.isnan(raw) if np.isnan(code) else raw == code)


def _chosen(file: h5py.File, path: Path, unit: Unit) -> tuple[Any, Any]:
    """The (dataset, data) groups of the one field in the wanted unit."""
    made = text(child(file, "what"), "object")
    if made not in OBJECTS:
        raise DataError(
            f"{path}: expected an ODIM object {' or '.join(OBJECTS)}, found {made}; make a "
            "composite on a grid from polar data first"
        )
    held: list[tuple[str, Any, Any]] = []
    for name in _numbered(file, "dataset"):
        dataset = file[name]
        for part in _numbered(dataset, "data"):
            what = _holder(_whats(dataset, dataset[part]), "quantity", path)
            held.append((text(what, "quantity"), dataset, dataset[part]))
    fitting = [entry for entry in held if QUANTITIES.get(entry[0]) == unit]
    # Corrected and uncorrected reflectivity may stand side by side.
    fitting = [entry for entry in fitting if entry[0] == "DBZH"] or fitting
    names = ", ".join(quantity for quantity, _, _ in held) or "nothing"
    if not fitting:
        known = [QUANTITIES[quantity] for quantity, _, _ in held if quantity in QUANTITIES]
        raise DataError(
            f"{path}: expected a quantity in {unit} as --unit says, found {names}; "
            f"{'give --unit ' + known[0] if known else 'it holds no rain that can be read'}"
        )
    if len(fitting) > 1:
        raise DataError(
            f"{path}: expected one field in {unit}, found {len(fitting)} ({names}); which one is "
            "meant cannot be told: write it out as a stack"
        )
    return fitting[0][1], fitting[0][2]


def _numbered(group: Any, stem: str) -> list[str]:
    if not isinstance(group, h5py.Group):
        return []
    return sorted(
        (name for name in group if re.fullmatch(rf"{stem}[1-9]\d*", name)),
        key=lambda name: int(name[len(stem) :]),
    )


def _whats(dataset: Any, data: Any) -> list[Any]:
    """The ``what`` groups that hold for a field, nearest first."""
    return [group["what"] for group in (data, dataset) if "what" in group]


def _holder(groups: list[Any], key: str, path: Path) -> Any:
    for group in groups:
        if key in group.attrs:
            return group
    raise DataError(f"{path}: expected the attribute {key} in a what group, found none")


def _times(file: h5py.File, path: Path, unit: Unit) -> tuple[np.datetime64, float | None]:
    """The moment of a field, and the minutes it sums rain over."""
    if unit != "mm":
        what = child(file, "what")
        return _time(text(what, "date"), text(what, "time"), path), None
    dataset, data = _chosen(file, path, unit)
    what = _whats(dataset, data)
    start, end = (
        _time(
            text(_holder(what, f"{which}date", path), f"{which}date"),
            text(_holder(what, f"{which}time", path), f"{which}time"),
            path,
        )
        for which in ("start", "end")
    )
    if end <= start:
        raise DataError(f"{path}: the sum ends at {end}, not after it starts at {start}")
    return end, float((end - start).astype(np.int64))


def _time(date: str, time: str, path: Path) -> np.datetime64:
    try:
        if not (re.fullmatch(r"\d{8}", date) and re.fullmatch(r"\d{6}", time)):
            raise ValueError("another form")
        return to_minute(datetime.strptime(date + time, "%Y%m%d%H%M%S"), path)
    except ValueError as error:
        raise DataError(
            f"{path}: expected a date YYYYMMDD and a time HHmmss, found {date!r} and {time!r}; it "
            "is damaged"
        ) from error


def _grid(file: h5py.File, path: Path, data: Any) -> Grid | None:
    """Where the pixels lie; None where pyproj is needed and not there.

    Corners are outer ones. A file without the two upper corners has a grid parallel to its
    axes, so its other two say the same.
    """
    shape = child(data, "data").shape
    parent = data.parent
    where = parent["where"] if "where" in parent and "projdef" in parent["where"].attrs else None
    if where is None:
        where = child(file, "where")
    stated = (number(where, "ysize"), number(where, "xsize"))
    if stated != shape:
        raise DataError(
            f"{path}: expected an image of {stated[0]:.0f}x{stated[1]:.0f} as the file says, found "
            f"{'x'.join(map(str, shape))}; it is damaged"
        )
    projection = text(where, "projdef")
    lower = project(projection, number(where, "LL_lon"), number(where, "LL_lat"))
    upper = project(projection, number(where, "UR_lon"), number(where, "UR_lat"))
    if lower is None or upper is None:
        return None
    width, height = (upper[0] - lower[0]) / shape[1], (upper[1] - lower[1]) / shape[0]
    if not (width > 0 and height > 0):
        raise DataError(
            f"{path}: expected the corner UR north-east of LL, found {lower} and {upper}; it is "
            "damaged"
        )
    return Grid(projection, lower[0], upper[1], width, height)
