"""GeoTIFF and GRIB through GDAL: values, unit, no data and place as the file states them.

GDAL comes with the package rasterio: ``pip install "memel-nowcast[gdal]"``. A GRIB message states
its time; of a GeoTIFF it is the one in its name, else its tag ``TIFFTAG_DATETIME``. Tried on files
that GDAL itself wrote.
"""

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from nowcast.core.errors import ConfigError, DataError, NowcastError
from nowcast.precipitation.archive.description import Grid
from nowcast.precipitation.archive.raw_files import GRIB, GZIP, TIFF, files_under, first_bytes
from nowcast.precipitation.sources.field import (
    Field,
    Request,
    Source,
    source_of_files,
    time_in_name,
    to_minute,
)
from nowcast.precipitation.sources.hdf5 import LARGEST
from nowcast.precipitation.sources.measure import Measure, is_rain
from nowcast.precipitation.sources.stated_unit import agreed_measure

_EPOCH = datetime(1970, 1, 1)
_HOURS_SUMMED = re.compile(r"APCP(\d\d)$")  # as GDAL names GRIB's rain sums


def read_through_gdal(source: Path, request: Request) -> list[Source]:
    """GeoTIFF or GRIB files, one field each, as one source.

    Raises:
        ConfigError: rasterio is not installed, or there is no file or no unit.
        DataError: a file is damaged, holds no or several fields of rain, or states no time.
    """
    paths = [path for path in gdal_files(source) if path not in request.skip]
    found = []
    for path in paths:
        with _opened(path) as file:
            band, stated = _band(file, path, request)
            found.append((_time(file, band, path), _minutes(file, band, stated), path))
    notes = ("GDAL: time = GRIB's valid time, else the one in the file's name",)
    return [source_of_files(source.name, found, lambda path: _read(path, request), notes)]


def gdal_files(source: Path) -> list[Path]:
    """The GeoTIFF and GRIB files at a place; raises `ConfigError` where there are none."""
    if source.is_file():
        return [source]
    found = [path for path in files_under(source) if _driver(path) is not None]
    if not found:
        raise ConfigError(f"{source}: expected GeoTIFF or GRIB files, found none")
    return found


def _read(path: Path, request: Request) -> Field:
    with _opened(path) as file:
        band, stated = _band(file, path, request)
        raw = file.read(band, masked=True)
        if raw.dtype.kind not in "iuf" or raw.size > LARGEST:
            raise DataError(f"{path}: expected numbers of a radar composite, found {raw.dtype}")
        values = np.ma.filled(raw.astype(np.float64), np.nan)
        values = values * file.scales[band - 1] + file.offsets[band - 1]
        grid, north_first = _grid(file)
        return Field(
            _time(file, band, path),
            stated.convert(values if north_first else values[::-1]),
            stated.unit,
            _minutes(file, band, stated),
            grid,
            stated,
        )


def _driver(path: Path) -> str | None:
    start = first_bytes(path)
    if start.startswith(TIFF):
        return "GTiff"
    return "GRIB" if start.startswith((GRIB, GZIP)) else None


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The file by the driver that its content asks for: no other may open what it names."""
    try:
        import rasterio
    except ImportError as error:
        raise ConfigError(
            f"{path}: expected the optional package rasterio to read it, found none; install it "
            'with `pip install "memel-nowcast[gdal]"`'
        ) from error
    driver = _driver(path)
    if driver is None:
        raise DataError(f"{path}: expected GeoTIFF or GRIB, found neither; choose another importer")
    zipped = "/vsigzip/" if first_bytes(path).startswith(GZIP) else ""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # e.g. of a file without a place
            with rasterio.open(f"{zipped}{path.absolute()}", driver=driver) as file:
                yield file
    except NowcastError:
        raise
    except Exception as error:  # GDAL's errors have no common class
        raise DataError(
            f"{path}: expected a whole {driver} file, but GDAL cannot read it ({error}); it is "
            "damaged or cut off: fetch it again, or remove it"
        ) from error


def _band(file: Any, path: Path, request: Request) -> tuple[int, Measure]:
    """The one band with rain or reflectivity, and what its numbers mean."""
    units = {band: _unit(file, band) for band in range(1, file.count + 1)}
    fitting = [band for band, unit in units.items() if unit is not None and is_rain(unit)]
    if not fitting and file.count == 1:
        fitting = [1]  # what is wrong with its unit is said below
    if len(fitting) != 1:
        held = ", ".join(str(unit or "no unit") for unit in units.values())
        raise DataError(
            f"{path}: expected one band of rain or reflectivity, found {len(fitting)} of "
            f"{file.count} ({held}); write the one that is meant to a file of its own"
        )
    return fitting[0], agreed_measure(units[fitting[0]], request, str(path), "gdal")


def _unit(file: Any, band: int) -> str | None:
    stated = file.units[band - 1] or file.tags(band).get("GRIB_UNIT")
    return None if stated is None else str(stated).strip("[] ")


def _minutes(file: Any, band: int, stated: Measure) -> float | None:
    match = _HOURS_SUMMED.search(file.tags(band).get("GRIB_ELEMENT", ""))
    return 60.0 * int(match[1]) if match and stated.unit == "mm" else None


def _time(file: Any, band: int, path: Path) -> np.datetime64:
    valid = file.tags(band).get("GRIB_VALID_TIME", "")
    seconds = re.match(r"\s*(\d+)", valid)
    if seconds is not None:
        try:
            return to_minute(_EPOCH + timedelta(seconds=int(seconds[1])), path)
        except OverflowError as error:
            raise DataError(f"{path}: expected a time, found {valid!r}; it is damaged") from error
    named = time_in_name(path.name)
    if named is not None:
        return named
    tag = file.tags().get("TIFFTAG_DATETIME", "")
    try:
        return to_minute(datetime.strptime(tag.strip(), "%Y:%m:%d %H:%M:%S"), path)
    except ValueError as error:
        raise DataError(
            f"{path}: expected a time in its name (YYYYMMDDHHMM) or in TIFFTAG_DATETIME, found "
            f"{tag!r}; rename it"
        ) from error


def _grid(file: Any) -> tuple[Grid | None, bool]:
    """Where the pixels lie, as far as GDAL knows, and whether row 0 is the northernmost."""
    place = file.transform
    if file.crs is None or place.b or place.d or not place.a > 0:
        return None, True
    north_first = place.e < 0
    top = place.f if north_first else place.f + file.height * place.e
    text = file.crs.to_proj4() or file.crs.to_wkt()
    return Grid(text, float(place.c), float(top), float(place.a), abs(float(place.e))), north_first
