"""A plain stack of frames with its times: ``.npy`` files, or HDF5 (netCDF-4 is HDF5 too).

For whoever has an archive in a format of its own: save it as an array (time, height, width) and an
array of times, and convert that.
"""

import re
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from nowcast.core.errors import ConfigError, DataError
from nowcast.precipitation.frames import Moments
from nowcast.precipitation.importers.field import (
    FIRST_YEAR,
    LAST_YEAR,
    Field,
    Request,
    Source,
    Unit,
    check_ascending,
    wanted_unit,
)
from nowcast.precipitation.importers.hdf5 import (
    SUFFIXES,
    attribute,
    check_array,
    child,
    number,
    opened,
    scaled,
    text,
)

EXPECTED = "an HDF5 stack of frames"
SLAB_BYTES = 2**27  # read at once from HDF5, whose chunks may span many frames

# Spellings of the units attribute that leave no doubt.
UNIT_OF: dict[str, Unit] = {
    "dbz": "dBZ",
    "mm": "mm",
    "kg m-2": "mm",
    "mm/h": "mm_h",
    "mm/hr": "mm_h",
    "mm h-1": "mm_h",
    "mm hr-1": "mm_h",
    "kg m-2 h-1": "mm_h",
}
_SINCE = re.compile(r"(second|minute|hour|day)s? since (.+)")
_MINUTES_OF = {"second": 1 / 60, "minute": 1.0, "hour": 60.0, "day": 1440.0}
_EPOCH = np.datetime64("1970-01-01", "m")

_Values = Callable[[int], Float[np.ndarray, "height width"]]


def read_stack(source: Path, request: Request) -> list[Source]:
    """A stack as one source.

    ``.npy``: frames (time, height, width) of numbers, and ``--times``: datetime64, or whole minutes
    since 1970-01-01. HDF5: both as datasets; ``scale_factor``, ``add_offset`` and ``_FillValue``
    of the frames and "minutes since ..." of the times are honoured, as netCDF has them.

    Raises:
        ConfigError: no unit or times are stated, or there is no such file.
        DataError: damaged, of another shape, times that do not grow, or another unit than
            `request.unit`.
    """
    unit = wanted_unit(request, "stack")
    if not source.is_file():
        raise ConfigError(f"{source}: expected a stack, one .npy or .h5 file, found none")
    if source.suffix.lower() == ".npy":
        if request.times is None:
            raise ConfigError(
                f"--times: expected the .npy file with the times of {source}, found none"
            )
        count, values = _from_npy(source)
        moments = _moments(_load(request.times), request.times)
        times_in = str(request.times)
    elif source.suffix.lower() in SUFFIXES:
        if request.times is not None:
            raise ConfigError(
                f"--times: {source} holds its times itself; name them with --datasets FRAMES,TIMES"
            )
        count, moments, values = _from_hdf5(source, request.datasets, unit)
        times_in = f"{source}, {request.datasets[1]}"
    else:
        raise ConfigError(f"{source}: expected a stack ending in .npy, .h5 or .nc")
    if len(moments) != count:
        raise DataError(
            f"{times_in}: expected one time for each of the {count} frames of {source}, found "
            f"{len(moments)}"
        )
    check_ascending(moments, lambda position: f"{times_in}, position {position}")

    def read(position: int) -> Field:
        frame = values(position)
        return Field(moments[position], frame[::-1] if request.south_first else frame, unit)

    notes = ("stack: row 0 taken as the southernmost, as --south-first says",)
    if not request.south_first:
        notes = ("stack: row 0 taken as the northernmost, as --south-first was not given",)
    return [
        Source(source.stem, moments, read, lambda position: f"{source}, frame {position}", notes)
    ]


def _load(path: Path) -> NDArray[Any]:
    """An ``.npy`` file, mapped into memory and not read."""
    try:
        return np.asanyarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: expected an .npy file, found none") from error
    except (ValueError, TypeError, OSError, EOFError) as error:
        raise DataError(
            f"{path}: expected an .npy file of plain numbers: {error}; it is damaged or cut off, "
            "save it again"
        ) from error


def _from_npy(path: Path) -> tuple[int, _Values]:
    frames = _load(path)
    if frames.ndim != 3 or frames.dtype.kind not in "iuf" or 0 in frames.shape:
        raise DataError(
            f"{path}: expected numbers with the axes (time, height, width), found {frames.dtype} "
            f"of shape {frames.shape}"
        )
    return len(frames), lambda position: np.array(frames[position], dtype=np.float64)


def _from_hdf5(path: Path, datasets: tuple[str, str], unit: Unit) -> tuple[int, Moments, _Values]:
    with opened(path, EXPECTED) as file:
        frames, times = (child(file, name) for name in datasets)
        check_array(frames, 3, "(time, height, width)")
        check_array(times, 1, "(time)")
        _check_unit(frames, unit, path)
        moments = _since(times, path)
        count, height, width = frames.shape
        scale, offset = (
            number(frames, key) if key in frames.attrs else default
            for key, default in (("scale_factor", 1.0), ("add_offset", 0.0))
        )
        fill = attribute(frames, "_FillValue") if "_FillValue" in frames.attrs else None
        spanned = frames.chunks[0] if frames.chunks else 1
        fitting = SLAB_BYTES // max(1, height * width * frames.dtype.itemsize)
        slab = max(1, min(spanned, fitting))
    held: dict[int, NDArray[Any]] = {}

    def values(position: int) -> Float[np.ndarray, "height width"]:
        number_of_slab = position // slab
        if number_of_slab not in held:
            held.clear()
            with opened(path, EXPECTED) as file:
                first = number_of_slab * slab
                held[number_of_slab] = np.asarray(file[datasets[0]][first : first + slab])
        raw = held[number_of_slab][position % slab]
        frame = scaled(raw, scale, offset)
        if fill is not None:
            frame[raw == fill] = np.nan
        return frame

    return count, moments, values


def _check_unit(frames: Any, unit: Unit, path: Path) -> None:
    if "units" not in frames.attrs:
        return
    stated = text(frames, "units")
    meant = UNIT_OF.get(stated.lower())
    if meant is not None and meant != unit:
        raise DataError(
            f"{path}: {frames.name} states the units {stated!r}, but --unit says {unit}; give "
            f"--unit {meant} (or mend the attribute)"
        )


def _since(times: Any, path: Path) -> Moments:
    """Times of an HDF5 dataset: minutes since 1970, or what its ``units`` attribute says."""
    raw = times[...]
    if "units" not in times.attrs:
        return _moments(raw, path)
    stated = text(times, "units")
    match = _SINCE.fullmatch(stated.lower())
    try:
        if match is None:
            raise ValueError("another form")
        start = datetime.fromisoformat(
            match[2].strip().upper().removesuffix("Z").removesuffix(" UTC")
        )
        if start.tzinfo is not None and start.utcoffset():
            raise ValueError("a time zone")
    except ValueError as error:
        raise DataError(
            f"{path}: expected units like 'minutes since 1970-01-01 00:00' of {times.name}, found "
            f"{stated!r}; write the times as minutes since 1970 without the attribute"
        ) from error
    if not np.isfinite(raw).all():
        raise DataError(f"{path}: expected times in {times.name}, found values that are not finite")
    first = (np.datetime64(start.replace(tzinfo=None), "s") - _EPOCH).astype(np.float64) / 60
    return _whole_minutes(first + raw * _MINUTES_OF[match[1]], path)


def _moments(times: NDArray[Any], path: Path) -> Moments:
    if times.ndim != 1:
        raise DataError(f"{path}: expected times with one axis, found the shape {times.shape}")
    if times.dtype.kind == "M":
        if np.isnat(times).any():
            raise DataError(
                f"{path}: expected a time for every frame, found none (NaT) at position "
                f"{int(np.isnat(times).argmax())}"
            )
        seconds = times.astype("datetime64[s]")
        return _whole_minutes(seconds.astype(np.int64) / 60, path)
    if times.dtype.kind not in "iu":
        raise DataError(
            f"{path}: expected datetime64 or whole minutes since 1970-01-01, found {times.dtype}"
        )
    return _whole_minutes(times.astype(np.float64), path)


def _whole_minutes(minutes: Float[np.ndarray, " time"], path: Path) -> Moments:
    """Minutes since 1970 as moments; off by less than a second is rounding, more an error."""
    nearest = np.rint(minutes)
    off = np.abs(minutes - nearest) > 1 / 61
    if off.any():
        raise DataError(
            f"{path}: expected times on whole minutes, found one with seconds at position "
            f"{int(off.argmax())}; round them first"
        )
    lowest, highest = (
        (np.datetime64(f"{year}-01-01", "m") - _EPOCH).astype(np.int64)
        for year in (FIRST_YEAR, LAST_YEAR)
    )
    out = (nearest < lowest) | (nearest >= highest)
    if out.any():
        position = int(out.argmax())
        raise DataError(
            f"{path}: expected minutes since 1970-01-01, found {nearest[position]:.0f} at position "
            f"{position}, which is no year of {FIRST_YEAR}-{LAST_YEAR}; are they seconds?"
        )
    return np.asarray(_EPOCH + nearest.astype(np.int64))
