"""KNMI's own HDF5 (format 3.5): rain sums and reflectivity composites of the Netherlands.

Source: KNMI HDF5 Data Format Specification 3.5. ``calibration_formulas`` gives the step from pixel
to value; ``out_of_image`` and ``missing_data`` are no data. One reading is ours: reflectivity
composites name pixel 0 both as the lowest level and as missing; nothing was received there, so it
is dry (as pysteps reads it), or every dry pixel would count as no data.
"""

import re
from datetime import datetime
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from nowcast.core.errors import DataError
from nowcast.precipitation.archive.description import Grid
from nowcast.precipitation.sources.field import (
    Field,
    Request,
    Source,
    source_of_files,
    to_minute,
)
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
from nowcast.precipitation.sources.stated_unit import no_field, only_unit

EXPECTED = "a KNMI radar image (HDF5)"
UNIT_OF: dict[str, Unit] = {
    "ACCUMULATED_PRECIPITATION_[MM]": "mm",
    "REFLECTIVITY_[DBZ]": "dBZ",
}
_NUMBER = r"([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)"
_FORMULA = re.compile(rf"GEO={_NUMBER}\*PV(?:\+?{_NUMBER})?")
_TIME = re.compile(r"(\d{1,2})-([A-Z]{3})-(\d{4});(\d{2}):(\d{2}):(\d{2})(?:\.\d*)?")
_MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]


def read_knmi(source: Path, request: Request) -> list[Source]:
    """KNMI files as one source; the time is the end of the product.

    Raises:
        ConfigError: there is no file, or a file holds several units and none is stated.
        DataError: a file is damaged, holds another quantity than `request.unit`, or two hold the
            same time.
    """
    paths, notes = files_in(source, request.skip)
    found = []
    unit: Unit | None = None
    for path in paths:
        with opened(path, EXPECTED) as file:
            start, end = _times(file, path)
            unit = unit or _unit(file, path, request)
            _image_group(file, path, unit)
            found.append((end, _minutes(start, end, unit), path))
    assert unit is not None
    notes += ("KNMI: time = end of the product",)
    if unit == "dBZ":
        notes += ("KNMI: pixel 0 of a reflectivity image read as dry, not as missing",)
    return [source_of_files(source.name, found, lambda path: _read(path, unit), notes)]


def _minutes(start: np.datetime64, end: np.datetime64, unit: Unit) -> float | None:
    """That a sum is over."""
    return float((end - start).astype(np.int64)) if unit == "mm" else None


def _unit(file: h5py.File, path: Path, request: Request) -> Unit:
    held = [UNIT_OF[name] for name in _images(file).values() if name in UNIT_OF]
    if not held and _images(file):
        raise DataError(
            f"{path}: expected a rain sum or reflectivity, found "
            f"{', '.join(_images(file).values())}; it is no rain product that can be read"
        )
    return only_unit(held, request, "knmi", path)


def _images(file: h5py.File) -> dict[str, str]:
    """What each image of a file shows."""
    return {
        name: text(child(file, name), "image_geo_parameter").upper()
        for name in file
        if re.fullmatch(r"image\d+", name)
    }


def calibration(formula: str) -> tuple[float, float]:
    """Gain and offset of ``GEO=a*PV+b``.

    Raises:
        ValueError: the formula is another one.
    """
    match = _FORMULA.fullmatch(re.sub(r"\s", "", formula))
    if match is None:
        raise ValueError(f"expected a formula GEO=a*PV+b, found {formula!r}")
    return float(match[1]), float(match[2] or 0)


def _read(path: Path, unit: Unit) -> Field:
    with opened(path, EXPECTED) as file:
        start, end = _times(file, path)
        if unit == "mm" and end == start:
            raise DataError(
                f"{path}: expected a sum of rain over some minutes, found start and end at {end}; "
                "which rate it is cannot be told"
            )
        group = _image_group(file, path, unit)
        scale = child(group, "calibration")
        try:
            gain, offset = calibration(text(scale, "calibration_formulas"))
        except ValueError as error:
            raise DataError(f"{path}: {error}; convert this product to a stack first") from error
        raw = image(child(group, "image_data"))
        missing = number(scale, "calibration_missing_data")
        outside = number(scale, "calibration_out_of_image")
        values = scaled(raw, gain, offset)
        values[raw == outside] = np.nan
        if unit == "dBZ" and missing == 0:
            values[raw == 0] = -np.inf
        else:
            values[raw == missing] = np.nan
        grid, south_first = _grid(file, path, raw)
    return Field(
        end,
        values[::-1] if south_first else values,
        unit,
        _minutes(start, end, unit),
        grid,
    )


def _image_group(file: h5py.File, path: Path, unit: Unit) -> Any:
    """The one image of the wanted unit."""
    held = _images(file)
    names = [name for name, parameter in held.items() if UNIT_OF.get(parameter) == unit]
    if not names:
        units = [UNIT_OF[name] for name in held.values() if name in UNIT_OF]
        raise no_field(path, "an image", unit, list(held.values()), units)
    if len(names) > 1:
        raise DataError(
            f"{path}: expected one image in {unit}, found {len(names)}; a forecast file holds no "
            "measurement, convert the analyses"
        )
    return file[names[0]]


def _times(file: h5py.File, path: Path) -> tuple[np.datetime64, np.datetime64]:
    overview = child(file, "overview")
    start, end = (
        to_minute(_time(text(overview, f"product_datetime_{which}"), path), path)
        for which in ("start", "end")
    )
    if end < start:
        raise DataError(f"{path}: the product ends at {end}, before it starts at {start}")
    return start, end


def _time(written: str, path: Path) -> datetime:
    # Not strptime's %b, which reads months in the user's language.
    match = _TIME.fullmatch(written.upper())
    try:
        if match is None or match[2] not in _MONTHS:
            raise ValueError("another form")
        day, year, hour, minute, second = (int(match[part]) for part in (1, 3, 4, 5, 6))
        return datetime(year, _MONTHS.index(match[2]) + 1, day, hour, minute, second)
    except ValueError as error:
        raise DataError(
            f"{path}: expected a time like 26-AUG-2010;05:00:00.000, found {written!r}; it is "
            "damaged"
        ) from error


def _grid(file: h5py.File, path: Path, raw: NDArray[Any]) -> tuple[Grid | None, bool]:
    """Where the pixels lie, and whether row 0 is the southernmost."""
    place = child(file, "geographic")
    rows, columns = number(place, "geo_number_rows"), number(place, "geo_number_columns")
    check_size(raw, rows, columns, path)
    size_x, size_y = number(place, "geo_pixel_size_x"), number(place, "geo_pixel_size_y")
    if size_x <= 0 or size_y == 0:
        raise DataError(f"{path}: expected a pixel size, found {size_x} x {size_y}; it is damaged")
    south_first = size_y > 0
    top = number(place, "geo_row_offset") * size_y
    return (
        Grid(
            projection=text(child(place, "map_projection"), "projection_proj4_params"),
            x_west=number(place, "geo_column_offset") * size_x,
            y_north=top + rows * size_y if south_first else top,
            pixel_x=size_x,
            pixel_y=abs(size_y),
        ),
        south_first,
    )
