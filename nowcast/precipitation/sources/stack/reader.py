"""A plain stack of frames with its times: ``.npy`` files, HDF5, netCDF or Zarr.

For whoever has an archive in a format of its own: save it as an array (time, height, width) and an
array of times, and convert that.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from nowcast.core.errors import ConfigError, DataError
from nowcast.precipitation.archive.raw_files import (
    HDF5,
    NETCDF_3,
    files_under,
    first_bytes,
    is_zarr,
)
from nowcast.precipitation.sources.field import (
    Field,
    Request,
    Source,
    check_ascending,
    whole,
)
from nowcast.precipitation.sources.hdf5 import LARGEST, SUFFIXES, check_array, is_hdf5, text
from nowcast.precipitation.sources.measure import Measure
from nowcast.precipitation.sources.stack.labelled import opened_stack
from nowcast.precipitation.sources.stack.named import frames_and_times
from nowcast.precipitation.sources.stack.packed import packing
from nowcast.precipitation.sources.stack.place import Place, said_place, stated_place
from nowcast.precipitation.sources.stack.times import StatedTimes, plain_times, stated_times
from nowcast.precipitation.sources.stated_unit import agreed_measure

SLAB_BYTES = 2**27  # read at once from HDF5, whose chunks may span many frames
_NPY = b"\x93NUMPY"

_Held = dict[tuple[Path, int], NDArray[Any]]  # the slab that was read last, of which file
_Values = Callable[[int], Float[np.ndarray, "height width"]]


@dataclass(frozen=True)
class _Stack:
    """Frames as they lie in their file, and all that is stated of them."""

    count: int
    values: _Values
    stated: StatedTimes
    times_in: str
    measure: Measure
    place: Place


def read_stack(source: Path, request: Request) -> list[Source]:
    """A stack as one source, or the stacks of a folder. What a file is, its first bytes say, not
    its name.

    ``.npy``: frames (time, height, width) of numbers, and ``--times``: datetime64, or whole minutes
    since 1970-01-01. HDF5, netCDF and Zarr: both as arrays (`named`), or one field with its time.
    Honoured as netCDF has them are ``units``; what is packed, no data and dry (`packed`); "minutes
    since ..." and ``bounds`` of the times, which end a sum and say over how long it is;
    coordinates, which say which row is north; and their grid mapping (`place`).

    Raises:
        ConfigError: no unit or times are stated, or there is no such file.
        DataError: damaged, of another shape, times that do not grow, units that are no rain, or
            something that contradicts what the user says.
    """
    held: _Held = {}
    if not source.is_dir() or is_zarr(source):
        return [_read_one(source, request, held)]
    files = [path for path in stack_files(source) if path not in request.skip]
    return [_joined(source.name, [_read_one(path, request, held) for path in files])]


def stack_files(folder: Path) -> list[Path]:
    """The stacks of a folder; raises `ConfigError` where there are none."""
    starts = (_NPY, NETCDF_3, HDF5)
    found = [
        path
        for path in files_under(folder)
        if is_zarr(path) or first_bytes(path).startswith(starts) or path.suffix in SUFFIXES
    ]
    if not found:
        raise ConfigError(f"{folder}: expected a stack, one .npy, .h5, .nc or Zarr, found none")
    return found


def _joined(name: str, sources: list[Source]) -> Source:
    """Several sources as one, in order of time."""
    where = sorted(
        (time, number, position)
        for number, source in enumerate(sources)
        for position, time in enumerate(source.times)
    )
    return Source(
        name,
        np.array([time for time, *_ in where], dtype="datetime64[m]"),
        lambda position: sources[where[position][1]].read(where[position][2]),
        lambda position: sources[where[position][1]].where(where[position][2]),
        sources[0].notes,
        sources[0].stated_step,
    )


def _read_one(source: Path, request: Request, held: "_Held") -> Source:
    if not (source.is_file() or is_zarr(source)):
        raise ConfigError(f"{source}: expected a stack, one .npy, .h5, .nc or Zarr, found none")
    start = first_bytes(source)
    if start.startswith(_NPY) or (source.suffix.lower() == ".npy" and not is_hdf5(source)):
        stack = _from_npy(source, request)
    elif (
        start.startswith((NETCDF_3, HDF5))
        or source.suffix.lower() in SUFFIXES
        or is_zarr(source)
        or is_hdf5(source)  # whose signature may stand further on
    ):
        stack = _from_arrays(source, request, held)
    else:
        raise ConfigError(
            f"{source}: expected a stack ending in .npy, .h5 or .nc, or one that is such a file "
            f"inside, found one that begins with {start[:6]!r}"
        )
    times = stack.stated.times
    if stack.measure.unit == "mm" and stack.stated.ends is not None:
        times = stack.stated.ends
    if len(times) != stack.count:
        raise DataError(
            f"{stack.times_in}: expected one time for each of the {stack.count} frames of {source},"
            f" found {len(times)}"
        )
    check_ascending(times, lambda position: f"{stack.times_in}, position {position}")
    minutes = stack.stated.minutes if stack.measure.unit == "mm" else None

    def read(position: int) -> Field:
        frame = stack.measure.convert(stack.values(position))
        return Field(
            times[position],
            frame[:: -1 if stack.place.south_first else 1, :: -1 if stack.place.east_first else 1],
            stack.measure.unit,
            None if minutes is None else float(minutes[position]),
            stack.place.grid,
            stack.measure,
        )

    notes = stack.place.notes
    if stack.measure.linear:
        notes += ("stack: reflectivity factor in mm6 m-3 turned to dBZ",)
    elif stack.measure.factor != 1:
        notes += (f"stack: multiplied by {stack.measure.factor:g} to be {stack.measure.unit}",)
    if minutes is not None:
        notes += ("stack: time = end of the interval that the times' bounds state",)
    return Source(
        source.stem,
        times,
        read,
        lambda position: f"{source}, frame {position}",
        notes,
        None if minutes is None else whole(float(minutes[0])),
    )


def _units(frames: Any) -> str | None:
    """The stated units; ``kg`` of a ``rainfall_amount`` (DWD's) is short for its CF unit."""
    if "units" not in frames.attrs:
        return None
    stated = text(frames, "units")
    if stated == "kg" and "standard_name" in frames.attrs:
        return "kg m-2" if text(frames, "standard_name").endswith("_amount") else stated
    return stated


def _load(path: Path) -> NDArray[Any]:
    """An ``.npy`` file, mapped into memory and not read."""
    try:
        return np.asanyarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: expected an .npy file, found none") from error
    except (ValueError, TypeError, OSError, EOFError, AttributeError) as error:
        raise DataError(
            f"{path}: expected an .npy file of plain numbers: {error}; it is damaged or cut off, "
            "save it again"
        ) from error


def _from_npy(path: Path, request: Request) -> _Stack:
    if request.times is None:
        raise ConfigError(f"--times: expected the .npy file with the times of {path}, found none")
    frames = _load(path)
    if frames.ndim != 3 or frames.dtype.kind not in "iuf" or 0 in frames.shape:
        raise DataError(
            f"{path}: expected numbers with the axes (time, height, width), found {frames.dtype} "
            f"of shape {frames.shape}"
        )
    return _Stack(
        len(frames),
        lambda position: np.array(frames[position], dtype=np.float64),
        StatedTimes(plain_times(_load(request.times), request.times)),
        str(request.times),
        agreed_measure(None, request, str(path), "stack"),
        said_place(frames.shape[1:], request),
    )


def _from_arrays(path: Path, request: Request, held: "_Held") -> _Stack:
    if request.times is not None:
        raise ConfigError(
            f"--times: {path} holds its times itself; name them with --datasets FRAMES,TIMES"
        )
    with opened_stack(path) as file:
        frames, times_item = frames_and_times(file, request)
        check_array(frames, 3, "(time, height, width)")
        name, times_name = frames.name, times_item.name.strip("/")
        stated = _units(frames)
        found = agreed_measure(stated, request, f"{path}: {frames.name}", "stack")
        times = stated_times(times_item, path)
        packed = packing(frames)
        place = stated_place(frames, request)
        count, height, width = frames.shape
        spanned = frames.chunks[0] if frames.chunks else 1
        fitting = SLAB_BYTES // max(1, height * width * frames.dtype.itemsize)
        slab = max(1, min(spanned, fitting))
    if height * width > LARGEST:
        raise DataError(f"{path}: expected a radar composite in {name}, found {height}x{width}")
    # A reflectivity factor Z of 0 is dry, as a rain rate of 0 is.
    dry = -np.inf if found.unit == "dBZ" and not found.linear else 0.0

    def values(position: int) -> Float[np.ndarray, "height width"]:
        key = (path, position // slab)
        if key not in held:
            held.clear()
            with opened_stack(path) as file:
                first = key[1] * slab
                held[key] = np.asarray(file[name][first : first + slab])
        return packed.values(held[key][position % slab], dry)

    return _Stack(count, values, times, f"{path}, {times_name}", found, place)
