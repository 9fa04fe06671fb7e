"""Radar files as a Zarr dataset after mlcast's specification 0.3.0, at the precision they have.

Rain rates (or reflectivity, where the files hold that) as float32 over ``time y x``, a chunk a
frame in Zstandard, NaN for no data; ``x`` and ``y`` in metres of a projected map, ``lat`` and
``lon``; ``missing_times``, those on the clock that have no frame; the grid mapping as WKT and as
CF's parameters. https://github.com/mlcast-community/mlcast-dataset-validator
"""

import shutil
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyproj

from nowcast.core.errors import ConfigError, DataError
from nowcast.core.execution.ahead import ahead
from nowcast.core.storage.files import refused
from nowcast.precipitation.archive.description import Grid
from nowcast.precipitation.archive.frames import Moments
from nowcast.precipitation.archive.projection import read_projection, to_degrees
from nowcast.precipitation.sources.apart.decoder import DECODER
from nowcast.precipitation.sources.conversion.clock import step_between
from nowcast.precipitation.sources.conversion.convert import READ_AHEAD, recognised
from nowcast.precipitation.sources.conversion.target import Target, check_target
from nowcast.precipitation.sources.conversion.values import (
    accumulation,
    check_alike,
    check_units,
    checked,
)
from nowcast.precipitation.sources.field import Field, Request, Source

VALIDATOR = "0.4.0"  # of mlcast-dataset-validator, whose specification this is
KEYS = ("license", "created_by", "created_with", "identifier", "version")
RATE = {
    "long_name": "rain rate",
    "standard_name": "rainfall_flux",
    "units": "kg m-2 h-1",  # of water: mm/h
}
REFLECTIVITY = {
    "long_name": "radar reflectivity",
    "standard_name": "equivalent_reflectivity_factor",
    "units": "dBZ",
}


@dataclass(frozen=True)
class Mlcast:
    """What mlcast wants to know that no radar file says.

    Args:
        license: SPDX identifier, e.g. ``CC-BY-4.0``.
        created_by: ``Name <email>``.
        created_with: ``https://github.com/mlcast-community/mlcast-dataset-ORG-NAME@VERSION``.
        identifier: ``COUNTRY-ENTITY-VARIABLE``, e.g. ``NL-KNMI-rainfall_flux``.
        version: of the dataset.
    """

    license: str
    created_by: str
    created_with: str
    identifier: str
    version: str = "0.1.0"

    @classmethod
    def read(cls, said: Mapping[str, str]) -> "Mlcast":
        """Of ``--mlcast KEY=VALUE``; ConfigError names a key that lacks or is none."""
        lacks = [key for key in KEYS[:-1] if not said.get(key)]
        unknown = [key for key in said if key not in KEYS]
        if lacks or unknown:
            wrong = f"found {unknown[0]}" if unknown else f"found no {lacks[0]}"
            raise ConfigError(
                f"--mlcast: expected license=CC-BY-4.0, created_by='NAME <EMAIL>', created_with="
                "https://github.com/mlcast-community/mlcast-dataset-ORG-NAME@VERSION, identifier="
                f"COUNTRY-ENTITY-VARIABLE and, if you like, version=0.1.0; {wrong}"
            )
        return cls(**said)


def write_mlcast(
    source: Path,
    root: Path,
    importer_name: str | None,
    request: Request,
    target: Target,
    about: Mlcast,
    progress: Callable[[int, int], None] | None = None,
) -> str:
    """Convert radar files; the store is in its place only when it is whole.

    Args:
        source: file or folder to read.
        root: the store to make, ``NAME.zarr``.
        importer_name: as ``--importer``; None: the one for the content of the first file.
        request: what the user says of the source.
        target: no data, step, minutes of sums and Z-R relation; nothing is cut or averaged.
        about: what mlcast wants to know.
        progress: called with (frames written, frames in all).

    Returns:
        What was written, in a line.

    Raises:
        ConfigError: an option is wrong, there is a store already, or the source states no
            projected map.
        DataError: as `convert`.
    """
    check_target(request, target)
    if target.crop is not None or target.block_mean != 1 or target.append or target.skip_damaged:
        raise ConfigError(
            "--to mlcast: keeps frames as they are; leave --crop, --block-mean, --append and "
            "--skip-damaged out"
        )
    if root.exists():
        raise ConfigError(f"{root}: expected a new store, found something there; choose another")
    found = DECODER.sources(importer_name or recognised(source), source, request)
    if len(found) != 1:
        raise ConfigError(f"{source}: expected frames of one radar, found {len(found)} sources")
    part = root.with_name(f".{root.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        line = _write(found[0], part, target, about, progress)
        part.replace(root)
    except OSError as error:
        raise refused(root, error) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return f"{root}: {line}"


def _write(
    source: Source,
    part: Path,
    target: Target,
    about: Mlcast,
    progress: Callable[[int, int], None] | None,
) -> str:
    import zarr
    from numcodecs import Zstd

    step = step_between(source, target.step_minutes)
    first = source.read(0)
    check_units(first, source.where(0), target)
    minutes = accumulation(first, source.where(0), target)
    size = first.values.shape
    coordinates = _map(first.grid, size, source.where(0))
    name, attributes = _variable(first, target)
    group = zarr.open_group(part, mode="w", zarr_format=2)
    array = group.create_array(
        name,
        shape=(len(source), *size),
        chunks=(1, *size),
        dtype="float32",
        fill_value=np.nan,
        compressors=Zstd(level=5),
        attributes={
            **attributes,
            "grid_mapping": "crs",
            "coordinates": "lat lon",
            "_ARRAY_DIMENSIONS": ["time", "y", "x"],
        },
    )
    times: list[np.datetime64] = []
    with closing(ahead(enumerate(source), READ_AHEAD)) as fields:
        for position, field in fields:
            where = source.where(position)
            check_alike(field, first, where)
            if accumulation(field, where, target) != minutes:
                raise DataError(
                    f"{where}: expected a sum over {minutes:g} minutes as in {source.where(0)}, "
                    f"found {field.accumulation_minutes:g}"
                )
            values = checked(field, minutes, where, target).astype(np.float32)
            if not np.isnan(values).all():
                array[len(times)] = values
                times.append(field.time)
            if progress is not None:
                progress(position + 1, len(source))
    if not times:
        raise DataError(f"{source.where(0)}: expected data in some frame, found none")
    array.resize((len(times), *size))
    missing = _describe(part, np.array(times), step, coordinates, _about(source, target, about))
    return (
        f"{len(times)} frames of {size[0]}x{size[1]} every {step} minutes, {missing} missing times"
    )


def _variable(first: Field, target: Target) -> tuple[str, dict[str, Any]]:
    if first.unit == "VIL":
        raise ConfigError("--to mlcast: VIL is no rain rate, and mlcast has no place for it")
    if first.unit != "dBZ":
        return "rainfall_rate", dict(RATE)
    assert target.calibration is not None
    zr = {"zr_a": target.calibration.zr_a, "zr_b": target.calibration.zr_b}
    return "equivalent_reflectivity_factor", {**REFLECTIVITY, **zr}


def _map(grid: Grid | None, size: tuple[int, ...], where: str) -> dict[str, Any]:
    """Coordinates and grid mapping, in metres of a projected map."""
    crs = None if grid is None else read_projection(grid.projection)
    if grid is None or crs is None or not crs.is_projected:
        raise ConfigError(
            f"{where}: expected a projected map, which mlcast wants, found "
            f"{'none stated' if grid is None else 'degrees'}; give --projection and --bounds, or "
            "convert to an archive"
        )
    metres = float(crs.axis_info[0].unit_conversion_factor)
    crs = _in_metres(crs) if metres != 1 else crs
    x = metres * (grid.x_west + (np.arange(size[1]) + 0.5) * grid.pixel_x)
    y = metres * (grid.y_north - (np.arange(size[0]) + 0.5) * grid.pixel_y)
    lon, lat = to_degrees(crs, *np.meshgrid(x, y))
    stated = dict(crs.to_cf())
    if stated.get("grid_mapping_name") == "polar_stereographic":
        pole = float(np.copysign(90, stated.get("standard_parallel", 90)))
        stated.setdefault("latitude_of_projection_origin", pole)
    if "grid_mapping_name" not in stated:
        raise ConfigError(
            f"{where}: expected a projection that CF has a name for, which mlcast wants, found "
            f"{grid.projection!r}; convert to an archive"
        )
    plane = {"units": "m", "long_name": "x in the projection", "axis": "X"}
    degrees = {"long_name": "latitude", "standard_name": "latitude", "units": "degrees_north"}
    return {
        "x": ("x", x, {**plane, "standard_name": "projection_x_coordinate"}),
        "y": (
            "y",
            y,
            {
                **plane,
                "standard_name": "projection_y_coordinate",
                "long_name": "y in the projection",
                "axis": "Y",
            },
        ),
        "lat": (("y", "x"), lat, degrees),
        "lon": (
            ("y", "x"),
            lon,
            {"long_name": "longitude", "standard_name": "longitude", "units": "degrees_east"},
        ),
        "crs": ((), np.int32(0), {**stated, "spatial_ref": stated["crs_wkt"]}),
    }


def _in_metres(crs: pyproj.CRS) -> pyproj.CRS:
    """The same projection with coordinates in metres."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PROJ's own form loses names
        tokens = crs.to_proj4().split()
    kept = [token for token in tokens if not token.startswith(("+units=", "+to_meter="))]
    return pyproj.CRS(" ".join([*kept, "+units=m"]))


def _about(source: Source, target: Target, about: Mlcast) -> dict[str, str]:
    now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    return {
        "Conventions": "CF-1.11",
        "title": target.name or source.name,
        "institution": target.credit,
        "license": about.license,
        "history": "\n".join((f"{now} nowcast data convert --to mlcast", *source.notes)),
        "mlcast_created_on": now,
        "mlcast_created_by": about.created_by,
        "mlcast_created_with": about.created_with,
        "mlcast_dataset_version": about.version,
        "mlcast_dataset_validator_version": VALIDATOR,
        "mlcast_dataset_identifier": about.identifier,
    }


def _describe(
    part: Path, times: Moments, step: int, coordinates: Mapping[str, Any], attrs: Mapping[str, str]
) -> int:
    """Write coordinates and attributes beside the frames; how many times on the clock lack one."""
    import xarray as xr
    import zarr

    clock = np.arange(times[0], times[-1] + 1, np.timedelta64(step, "m"))
    missing = clock[~np.isin(clock, times)]
    known = {"standard_name": "time", "long_name": "valid time", "axis": "T"}
    lacks = {"long_name": "times on the clock without a frame"}
    held = {
        "time": ("time", times.astype("datetime64[ns]"), known),
        "missing_times": ("missing_times", missing.astype("datetime64[ns]"), lacks),
        **coordinates,
    }
    clocks = {"units": "minutes since 1970-01-01 00:00:00", "dtype": "int64"}
    encoding: dict[str, dict[str, Any]] = {
        "time": {**clocks, "chunks": (len(times),)},
        "missing_times": dict(clocks),
    }
    data = xr.Dataset(coords=held, attrs=dict(attrs))
    if len(missing):  # gaps are a variable step, so mlcast wants to know from when on it is not
        data.attrs["consistent_timestep_start"] = f"{times[0]}:00"
    data.to_zarr(part, mode="a", zarr_format=2, consolidated=False, encoding=encoding)
    zarr.consolidate_metadata(part, zarr_format=2)
    return len(missing)
