"""One moment of radar as its source gives it: values, unit and place, before it is a frame."""

import importlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float

from nowcast.core.errors import ConfigError, DataError
from nowcast.precipitation.description import Grid
from nowcast.precipitation.frames import Moments

Unit = Literal["dBZ", "mm_h", "mm", "VIL"]

# Frames are named by year, month and day; a time outside these years is a damaged one.
FIRST_YEAR, LAST_YEAR = 1900, 2100


@dataclass(frozen=True)
class Field:
    """What a radar saw at one moment.

    Args:
        moment: UTC, unit minute. A source that sums rain states both ends of the sum: the moment
            is its end, when all of it has been seen. A source that states one time has that one.
        values: row 0 north. NaN where there is no data; where it is dry, 0, or -inf in dBZ.
        unit: of the values; ``VIL`` are SEVIR's 8-bit levels.
        accumulation_minutes: over which rain was summed, where the source states it.
        grid: where the pixels lie, where the source states it.
    """

    moment: np.datetime64
    values: Float[np.ndarray, "height width"]
    unit: Unit
    accumulation_minutes: float | None = None
    grid: Grid | None = None


@dataclass(frozen=True)
class Source:
    """Fields in order of time, each read when it is asked for, so that memory stays bounded.

    Args:
        name: of the source, e.g. the folder, or the id of an event.
        moments: of the fields, strictly ascending; no field was opened further than needed for it.
        read: the field at a position.
        where: what to name in a message about the field at a position: its file.
        notes: what was read into the source that it does not say itself, a line each.

    Raises:
        DataError: the moments do not ascend.
    """

    name: str
    moments: Moments
    read: Callable[[int], Field]
    where: Callable[[int], str]
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_ascending(self.moments, self.where)

    def __len__(self) -> int:
        return len(self.moments)

    def __iter__(self) -> Iterator[Field]:
        return (self.read(position) for position in range(len(self)))


@dataclass(frozen=True)
class Request:
    """What a user says of a source, as far as its format leaves it open.

    Args:
        unit: of the values; None where the importer knows it.
        times: ``.npy`` file with the times of an ``.npy`` stack.
        datasets: names of the frames and the times in an HDF5 stack.
        south_first: a stack's row 0 is its southernmost.
        name_pattern: `datetime.strptime` pattern of the file names, for pysteps.
        settings: passed on to pysteps' importer.
        catalog: SEVIR's CATALOG.csv.
        events: SEVIR ids; all in the file if empty.
    """

    unit: Unit | None = None
    times: Path | None = None
    datasets: tuple[str, str] = ("frames", "times")
    south_first: bool = False
    name_pattern: str | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    catalog: Path | None = None
    events: tuple[str, ...] = ()


def check_ascending(moments: Moments, where: Callable[[int], str]) -> None:
    """Raise `DataError` where a clock stands still or goes backwards.

    Args:
        moments: in the order of the source.
        where: what to name in a message about the moment at a position.
    """
    back = np.diff(moments).astype(np.int64) <= 0
    if back.any():
        position = int(back.argmax())
        raise DataError(
            f"{where(position + 1)}: expected a later time than {moments[position]} of "
            f"{where(position)}, found {moments[position + 1]}; sort the frames with their times "
            "and remove what stands twice"
        )


def source_of_files(
    name: str,
    found: list[tuple[np.datetime64, Path]],
    read: Callable[[Path], Field],
    notes: tuple[str, ...] = (),
) -> Source:
    """A source of one file a moment.

    Args:
        name: of the source.
        found: the moment of every file.
        read: the field of a file.
        notes: see `Source`.

    Raises:
        DataError: two files have the same moment.
    """
    ordered = sorted(found)
    for (moment, path), (following, other) in pairwise(ordered):
        if moment == following:
            raise DataError(
                f"{path} and {other}: both hold the moment {moment}; remove one of them (or convert"
                " the products one by one)"
            )
    return Source(
        name,
        np.array([moment for moment, _ in ordered], dtype="datetime64[m]"),
        lambda position: read(ordered[position][1]),
        lambda position: str(ordered[position][1]),
        notes,
    )


def files_in(source: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """The source itself, or all files under it with one of the suffixes (lower case), by name.

    Raises:
        ConfigError: there is no such file or folder, or nothing in it.
    """
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise ConfigError(f"{source}: expected a file or a folder to convert, found none")
    found = sorted(
        path for path in source.rglob("*") if path.is_file() and path.suffix.lower() in suffixes
    )
    if not found:
        raise ConfigError(
            f"{source}: expected files ending in {', '.join(suffixes)}, found none; is this the "
            "folder, and the right --importer?"
        )
    return found


def to_minute(time: datetime, path: Path) -> np.datetime64:
    """The nearest minute (``04:59:59`` is 05:00).

    Raises:
        DataError: the year is not one that radar has seen.
    """
    if not FIRST_YEAR <= time.year < LAST_YEAR:
        raise DataError(f"{path}: expected a time of our days, found {time}; the file is damaged")
    seconds = np.datetime64(time.replace(tzinfo=None), "s").astype(np.int64)
    return np.datetime64(int((seconds + 30) // 60), "m")


def wanted_unit(request: Request, importer: str) -> Unit:
    """The unit that a user must state.

    Raises:
        ConfigError: it is not stated.
    """
    if request.unit is None:
        raise ConfigError(
            f"--unit: --importer {importer} needs to know it; give dBZ, mm_h (a rain rate) or mm "
            "(a rain sum)"
        )
    return request.unit


def project(projection: str, lon: float, lat: float) -> tuple[float, float] | None:
    """Longitude and latitude in degrees as the projection's x and y.

    None where the optional package pyproj is not installed or does not know the projection: an
    archive then states no grid.
    """
    try:
        pyproj = importlib.import_module("pyproj")
    except ImportError:
        return None
    try:
        x, y = pyproj.Proj(projection)(lon, lat)
    except (pyproj.exceptions.ProjError, RuntimeError, ValueError):
        return None
    return (float(x), float(y)) if np.isfinite([x, y]).all() else None


NO_GRID = "grid not stated: the optional package pyproj is needed to place it"
