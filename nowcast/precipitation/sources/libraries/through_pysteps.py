"""Formats that pysteps reads (KNMI, FMI, MeteoSwiss, BoM, OPERA, DWD, MRMS...).

pysteps is an extra: ``pip install "memel-nowcast[pysteps]"``. Its importers give values, unit
and place, but no time: that is in the file names, by ``--name-pattern``. Nor do most of them read
over how many minutes rain was summed; they state what is usual, which is not believed here.

Compared on real files with our own readers: ``knmi_hdf5`` (KNMI) and ``dwd_hdf5`` (a composite of
MeteoSwiss); on written ones also ``odim_hdf5``. The others were not tried.
"""

import contextlib
import importlib
import io
import warnings
from collections.abc import Callable
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from nowcast.core.errors import ConfigError, DataError
from nowcast.precipitation.archive.description import Grid
from nowcast.precipitation.sources.field import (
    Field,
    Request,
    Source,
    source_of_files,
    to_minute,
)
from nowcast.precipitation.sources.stated_unit import agreed_measure, said_measure

PREFIX = "pysteps:"
# What pysteps does unless told otherwise and an archive must not: MRMS is averaged over 4x4 pixels.
DEFAULTS: dict[str, dict[str, Any]] = {"mrms_grib": {"window_size": 1}}

# These read the minutes of a sum off the file; the others return a constant of theirs.
READ_THE_MINUTES = ("bom_rf3", "dwd_hdf5")
# Importers whose fields would be silently wrong (pysteps 1.21.5), and what to do instead.
UNFIT: dict[str, str] = {
    "mch_hdf5": "pysteps gives dry pixels as pixels without data; use --importer odim, which reads "
    "these files",
    "dwd_radolan": "pysteps states no unit and takes 0.01 off every sum; save the fields as a "
    "stack and use --importer stack",
}

_Import = Callable[..., tuple[Any, Any, dict[str, Any]]]


def read_through_pysteps(name: str, source: Path, request: Request) -> list[Source]:
    """Files as one source, each read by one of pysteps' importers.

    Args:
        name: of the importer in pysteps, e.g. ``mrms_grib``.
        source: a file, or a folder; files in it whose name does not fit the pattern are left out.
        request: needs `Request.name_pattern`.

    Raises:
        ConfigError: pysteps, what its importer needs, the importer, the pattern or a file is not
            there, or the importer is one of `UNFIT`.
        DataError: a file is damaged or holds another unit than `request.unit`.
    """
    if name in UNFIT:
        raise ConfigError(
            f"--importer {PREFIX}{name}: expected rain as the file has it, but {UNFIT[name]}"
        )
    said_measure(request)
    if request.name_pattern is None:
        raise ConfigError(
            "--name-pattern: pysteps takes the time from the file name; give its pattern, e.g. "
            '--name-pattern "RAD_NL25_RAP_5min_%Y%m%d%H%M.h5"'
        )
    importer = _importer(name)
    settings = DEFAULTS.get(name, {}) | {
        key: _typed(value) for key, value in request.settings.items()
    }
    believed = name in READ_THE_MINUTES or "accutime" in settings
    if source.is_file():
        paths = [source]
    elif source.is_dir():
        paths = sorted(path for path in source.rglob("*") if path.is_file())
    else:
        raise ConfigError(f"{source}: expected a file or a folder to convert, found none")
    found: list[tuple[np.datetime64, float | None, Path]] = []
    for path in paths:
        time = _time(path.name, request.name_pattern)
        if time is not None:
            found.append((to_minute(time, path), None, path))
    if not found:
        shown = f", e.g. {paths[0].name}" if paths else ""
        raise ConfigError(
            f"{source}: expected names like {request.name_pattern}, found none among "
            f"{len(paths)} files{shown}"
        )
    left_out = len(paths) - len(found)
    notes: tuple[str, ...] = (f"pysteps {_version()}: {name} {settings or ''}".rstrip(),)
    if left_out:
        notes += (f"{left_out} files left out, not named {request.name_pattern}",)
    return [
        source_of_files(
            source.name,
            found,
            lambda path: _read(path, importer, settings, request, believed),
            notes,
        )
    ]


def _importer(name: str) -> _Import:
    # It prints on stdout where its configuration lies, and warns of what it could not import.
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            module = importlib.import_module("pysteps.io.importers")
    except ImportError as error:
        raise ConfigError(
            f"--importer {PREFIX}{name}: expected the optional package pysteps, found none "
            f'({error}); install it with `pip install "memel-nowcast[pysteps]"`'
        ) from error
    importer: _Import | None = getattr(module, f"import_{name}", None)
    if importer is None:
        stem = "import_"
        known = sorted(key[len(stem) :] for key in vars(module) if key.startswith(stem))
        raise ConfigError(
            f"--importer {PREFIX}{name}: pysteps has none of that name; known: {', '.join(known)}"
        )
    return importer


def _version() -> str:
    return version("pysteps")


def _typed(value: str) -> int | float | str:
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(value)
    return value


def _time(name: str, pattern: str) -> datetime | None:
    try:
        return datetime.strptime(name, pattern)
    except ValueError:
        return None


def _read(
    path: Path,
    importer: _Import,
    settings: dict[str, Any],
    request: Request,
    believed: bool,
) -> Field:
    assert request.name_pattern is not None
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            values, _, metadata = importer(str(path), **settings)
    except Exception as error:  # each of its importers raises what its reader does
        if type(error).__name__ == "MissingOptionalDependency":
            raise ConfigError(f"{path}: pysteps lacks a package to read it: {error}") from error
        raise DataError(
            f"{path}: pysteps could not read it ({type(error).__name__}: {error}); it is damaged, "
            "or of another format, or the importer needs --setting KEY=VALUE"
        ) from error
    found = agreed_measure(
        metadata.get("unit"),
        request,
        str(path),
        PREFIX + "NAME",
        "this importer gives no rain that can be converted",
    )
    transform = metadata.get("transform")
    if transform not in (None, "dB") or (transform == "dB" and found.unit != "dBZ"):
        raise DataError(
            f"{path}: expected plain {found.unit}, found them transformed ({transform})"
        )
    array = np.asarray(np.ma.filled(np.ma.asarray(values, dtype=np.float64), np.nan))
    if array.ndim != 2:
        raise DataError(f"{path}: expected one field (height, width), found {array.shape}")
    time = _time(path.name, request.name_pattern)
    assert time is not None
    believed = believed and found.unit == "mm"
    minutes = float(metadata["accutime"]) if believed and metadata.get("accutime") else None
    return Field(
        to_minute(time, path),
        found.convert(array[::-1] if metadata.get("yorigin") == "lower" else array),
        found.unit,
        minutes,
        _grid(metadata, array.shape),
        found,
    )


def _grid(metadata: dict[str, Any], shape: tuple[int, ...]) -> Grid | None:
    needed = ("projection", "x1", "x2", "y1", "y2")
    if any(metadata.get(key) is None for key in needed):
        return None
    x1, x2, y1, y2 = (float(metadata[key]) for key in needed[1:])
    # Not xpixelsize, which some of its importers have in another unit than the corners.
    width, height = abs(x2 - x1) / shape[1], abs(y2 - y1) / shape[0]
    if not (np.isfinite([x1, x2, y1, y2]).all() and width > 0 and height > 0):
        return None
    return Grid(str(metadata["projection"]), min(x1, x2), max(y1, y2), width, height)
