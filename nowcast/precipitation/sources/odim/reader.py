"""ODIM-HDF5, the European exchange format: composites and images on a grid.

Source: OPERA Data Information Model for HDF5, version 2.4 (EUMETNET OPERA). ``gain`` and
``offset`` give the step from raw number to value; ``undetect`` is dry, ``nodata`` is no data (and
wins where a file gives both the same number). The first row is the northernmost.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from nowcast.core.errors import DataError
from nowcast.precipitation.archive.description import Grid
from nowcast.precipitation.archive.raw_files import GRIDDED
from nowcast.precipitation.sources.corners import UnknownProjectionError, grid_between
from nowcast.precipitation.sources.field import Field, Request, Source, source_of_files
from nowcast.precipitation.sources.hdf5 import (
    check_size,
    child,
    files_in,
    image,
    number,
    opened,
    scaled,
    text,
)
from nowcast.precipitation.sources.measure import Unit
from nowcast.precipitation.sources.odim.times import sum_times, time_of
from nowcast.precipitation.sources.stated_unit import no_field, only_unit

EXPECTED = "an ODIM-HDF5 composite"
OBJECTS = ("COMP", "IMAGE", "CVOL")  # on a grid
# What the other objects are, and what makes a composite of them.
OTHERS = {
    "PVOL": f"a polar volume; {GRIDDED}",
    "SCAN": f"a polar scan; {GRIDDED}",
    "RAY": f"a polar ray; {GRIDDED}",
    "AZIM": f"azimuthal polar data; {GRIDDED}",
    "ELEV": f"an elevational polar scan; {GRIDDED}",
    "XSEC": "a vertical cross section, which has no map",
    "VP": "a vertical profile, which has no map",
    "PIC": "a picture, whose colours are no measurement",
}
# In each unit the field that is nearest to rain comes first: corrected, then uncorrected,
# horizontally, then vertically polarised.
QUANTITIES: dict[str, Unit] = {
    "DBZH": "dBZ",
    "DBZHC": "dBZ",
    "TH": "dBZ",
    "TOTAL_POWER_HORIZONTAL": "dBZ",
    "DBZ": "dBZ",
    "DBZV": "dBZ",
    "DBZVC": "dBZ",
    "TV": "dBZ",
    "RATE": "mm_h",
    "ACRR": "mm",
}
_ORDER = list(QUANTITIES)


@dataclass(frozen=True)
class _Part:
    """One field of a file."""

    quantity: str
    dataset: Any
    data: Any

    @property
    def whats(self) -> list[Any]:
        """The ``what`` groups that hold for it, nearest first."""
        groups = (self.data, self.dataset, self.data.file)
        return [group["what"] for group in groups if "what" in group]


def read_odim(source: Path, request: Request) -> list[Source]:
    """ODIM files as one source.

    The time of a rain sum (ACRR) is its end (``enddate``, ``endtime``); that of a rate or a
    reflectivity is the nominal time of the product (``what/date``, ``what/time``).

    Raises:
        ConfigError: there is no file, or the files hold several units and none is stated.
        DataError: a file is damaged, polar, holds no or several fields in `request.unit`, or two
            hold the same time.
    """
    paths, notes = files_in(source, request.skip)
    unit: Unit | None = None
    found, quantities, problems = [], set(), set()
    for path in paths:
        with opened(path, EXPECTED) as file:
            unit = unit or _unit(file, path, request)
            part = _chosen(file, path, unit)
            found.append((*_times(part, path, unit), path))
            quantities.add(part.quantity)
            _, problem = _grid(path, part)
            problems |= {problem} if problem else set()
    assert unit is not None
    end = "end of the sum" if unit == "mm" else "nominal time of the product"
    notes += (
        f"ODIM: {', '.join(sorted(quantities))}; time = {end}",
        *(f"grid not stated: {problem}" for problem in sorted(problems)),
    )
    return [source_of_files(source.name, found, lambda path: _read(path, unit), notes)]


def _unit(file: h5py.File, path: Path, request: Request) -> Unit:
    held = [QUANTITIES[part.quantity] for part in _parts(file, path) if part.quantity in QUANTITIES]
    return only_unit(held, request, "odim", path)


def _read(path: Path, unit: Unit) -> Field:
    with opened(path, EXPECTED) as file:
        part = _chosen(file, path, unit)
        time, minutes = _times(part, path, unit)
        raw = image(child(part.data, "data"))
        gain, offset = (_coefficient(part, key, raw, path) for key in ("gain", "offset"))
        undetect, nodata = _code(part, "undetect"), _code(part, "nodata")
        if nodata is None and raw.dtype.kind != "f":
            raise DataError(
                f"{path}: expected the attribute nodata in a what group, found none; without it "
                "no data would be taken for rain: add it, or write the field out as a stack"
            )
        values = scaled(raw, gain, offset)
        # Fields of floating point name NaN as their code (MeteoSwiss does).
        if undetect is not None:
            values[_is_code(raw, undetect)] = -np.inf if unit == "dBZ" else 0.0
        if nodata is not None:
            values[_is_code(raw, nodata)] = np.nan
        grid, _ = _grid(path, part)
    return Field(time, values, unit, minutes, grid)


def _coefficient(part: _Part, key: str, raw: NDArray[Any], path: Path) -> float:
    holder = _holder(part.whats, key)
    if holder is not None:
        return number(holder, key)
    if raw.dtype.kind != "f":
        raise DataError(
            f"{path}: expected the attribute {key} in a what group, found none; what a raw number "
            "is worth cannot be told: add gain and offset, or write the field out as a stack"
        )
    return 1.0 if key == "gain" else 0.0  # ODIM's own, fit for floating point


def _code(part: _Part, key: str) -> float | None:
    holder = _holder(part.whats, key)
    return None if holder is None else number(holder, key, finite=False)


def _is_code(raw: NDArray[Any], code: float) -> NDArray[np.bool_]:
    return np.asarray(np.isnan(raw) if np.isnan(code) else raw == code)


def _parts(file: h5py.File, path: Path) -> list[_Part]:
    """Every field of a file that lies on a grid."""
    made = text(child(file, "what"), "object")
    if made not in OBJECTS:
        raise DataError(
            f"{path}: expected an ODIM object {' or '.join(OBJECTS)}, found {made}"
            f"{', ' + OTHERS[made] if made in OTHERS else ''}; make a composite on a grid first"
        )
    held = []
    for name in _numbered(file, "dataset"):
        for number_of_part in _numbered(file[name], "data"):
            part = _Part("", file[name], file[name][number_of_part])
            holder = _holder(part.whats, "quantity")
            quantity = "" if holder is None else text(holder, "quantity")
            held.append(_Part(quantity.upper(), part.dataset, part.data))
    return held


def _chosen(file: h5py.File, path: Path, unit: Unit) -> _Part:
    """The one field in the wanted unit."""
    held = _parts(file, path)
    fitting = [part for part in held if QUANTITIES.get(part.quantity) == unit]
    # Corrected and uncorrected reflectivity may stand side by side.
    first = min((_ORDER.index(part.quantity) for part in fitting), default=0)
    fitting = [part for part in fitting if part.quantity == _ORDER[first]]
    names = [part.quantity or "no quantity" for part in held]
    if not fitting:
        units = [QUANTITIES[name] for name in names if name in QUANTITIES]
        raise no_field(path, "a quantity", unit, names, units)
    if len(fitting) > 1:
        levels, advice = "", "write it out as a stack"
        if text(child(file, "what"), "object") == "CVOL":
            levels = f" of a Cartesian volume at {', '.join(_levels(fitting))}"
            advice = "write one height out as an IMAGE or a stack"
        raise DataError(
            f"{path}: expected one field in {unit}, found {len(fitting)} ({', '.join(names)})"
            f"{levels}; which one is meant cannot be told: {advice}"
        )
    return fitting[0]


def _levels(parts: list[_Part]) -> Iterator[str]:
    """The height or elevation of each field of a volume."""
    for part in parts:
        whats = part.whats
        product, value = _holder(whats, "product"), _holder(whats, "prodpar")
        name = "" if product is None else text(product, "product")
        yield f"{name} {number(value, 'prodpar', finite=False):g}" if value is not None else name


def _numbered(group: Any, stem: str) -> list[str]:
    if not isinstance(group, h5py.Group):
        return []
    return sorted(
        (name for name in group if re.fullmatch(rf"{stem}[1-9]\d*", name)),
        key=lambda name: int(name[len(stem) :]),
    )


def _holder(groups: list[Any], key: str) -> Any | None:
    return next((group for group in groups if key in group.attrs), None)


def _times(part: _Part, path: Path, unit: Unit) -> tuple[np.datetime64, float | None]:
    """The time of a field, and the minutes it sums rain over, where they are stated."""
    if unit != "mm":
        what = child(part.data.file, "what")
        return time_of(text(what, "date"), text(what, "time"), path), None
    return sum_times(part.whats, path)


def _grid(path: Path, part: _Part) -> tuple[Grid | None, str | None]:
    """Where the pixels lie, or why that cannot be told.

    Corners are outer ones. A file without the two upper corners has a grid parallel to its
    axes, so its other two say the same.
    """
    data = child(part.data, "data")
    where = part.dataset.get("where")
    if where is None or "projdef" not in where.attrs:
        where = child(part.data.file, "where")
    check_size(data, number(where, "ysize"), number(where, "xsize"), path)
    lower, upper = (
        (number(where, f"{corner}_lon"), number(where, f"{corner}_lat")) for corner in ("LL", "UR")
    )
    try:
        grid = grid_between(text(where, "projdef"), lower, upper, data.shape)
    except UnknownProjectionError as error:
        return None, str(error)
    if grid is None:
        raise DataError(
            f"{path}: expected the corner UR north-east of LL, found {lower} and {upper}; it is "
            "damaged"
        )
    return grid, None
