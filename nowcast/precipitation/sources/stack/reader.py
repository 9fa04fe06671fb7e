"""A plain stack of frames with its times: ``.npy`` files, or HDF5 (netCDF-4 is HDF5 too).

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
from nowcast.precipitation.sources.field import (
    Field,
    Request,
    Source,
    check_ascending,
    whole,
)
from nowcast.precipitation.sources.hdf5 import SUFFIXES, check_array, child, is_hdf5, opened, text
from nowcast.precipitation.sources.measure import Measure
from nowcast.precipitation.sources.stack.packed import packing
from nowcast.precipitation.sources.stack.place import Place, said_place, stated_place
from nowcast.precipitation.sources.stack.times import StatedTimes, plain_times, stated_times
from nowcast.precipitation.sources.stated_unit import agreed_measure

EXPECTED = "an HDF5 stack of frames"
SLAB_BYTES = 2**27  # read at once from HDF5, whose chunks may span many frames
_NPY = b"\x93NUMPY"
_NETCDF_3 = b"CDF"

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
    """A stack as one source. What it is, its first bytes say, not its name.

    ``.npy``: frames (time, height, width) of numbers, and ``--times``: datetime64, or whole minutes
    since 1970-01-01. HDF5: both as datasets. Honoured as netCDF has them are ``units``; what is
    packed, no data and dry (`packed`); "minutes since ..." and ``bounds`` of the times, which end a
    sum and say over how long it is; coordinates, which say which row is north; and their grid
    mapping (`stack_place`).

    Raises:
        ConfigError: no unit or times are stated, or there is no such file.
        DataError: damaged, of another shape, times that do not grow, units that are no rain, or
            something that contradicts what the user says.
    """
    if not source.is_file():
        raise ConfigError(f"{source}: expected a stack, one .npy or .h5 file, found none")
    with source.open("rb") as file:
        start = file.read(len(_NPY))
    if start == _NPY or (source.suffix.lower() == ".npy" and not is_hdf5(source)):
        stack = _from_npy(source, request)
    elif start.startswith(_NETCDF_3):
        raise ConfigError(
            f"{source}: expected netCDF-4, which is HDF5, found netCDF-3; convert it with "
            "`nccopy -k nc4 IN OUT` (or xarray's to_netcdf)"
        )
    elif is_hdf5(source) or source.suffix.lower() in SUFFIXES:
        stack = _from_hdf5(source, request)
    else:
        raise ConfigError(
            f"{source}: expected a stack ending in .npy, .h5 or .nc, or one that is such a file "
            f"inside, found one that begins with {start!r}"
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
    return [
        Source(
            source.stem,
            times,
            read,
            lambda position: f"{source}, frame {position}",
            notes,
            None if minutes is None else whole(float(minutes[0])),
        )
    ]


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


def _from_hdf5(path: Path, request: Request) -> _Stack:
    if request.times is not None:
        raise ConfigError(
            f"--times: {path} holds its times itself; name them with --datasets FRAMES,TIMES"
        )
    name, times_name = request.datasets
    with opened(path, EXPECTED) as file:
        frames = child(file, name)
        check_array(frames, 3, "(time, height, width)")
        stated = _units(frames)
        found = agreed_measure(stated, request, f"{path}: {frames.name}", "stack")
        times = stated_times(child(file, times_name), path)
        packed = packing(frames)
        place = stated_place(frames, request)
        count, height, width = frames.shape
        spanned = frames.chunks[0] if frames.chunks else 1
        fitting = SLAB_BYTES // max(1, height * width * frames.dtype.itemsize)
        slab = max(1, min(spanned, fitting))
    held: dict[int, NDArray[Any]] = {}
    # A reflectivity factor Z of 0 is dry, as a rain rate of 0 is.
    dry = -np.inf if found.unit == "dBZ" and not found.linear else 0.0

    def values(position: int) -> Float[np.ndarray, "height width"]:
        number_of_slab = position // slab
        if number_of_slab not in held:
            held.clear()
            with opened(path, EXPECTED) as file:
                first = number_of_slab * slab
                held[number_of_slab] = np.asarray(file[name][first : first + slab])
        return packed.values(held[number_of_slab][position % slab], dry)

    return _Stack(count, values, times, f"{path}, {times_name}", found, place)
