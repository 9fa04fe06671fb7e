"""One time of radar as its source gives it: values, unit and place, before it is a frame."""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import numpy as np
from jaxtyping import Float

from nowcast.core.errors import DataError
from nowcast.precipitation.archive.description import Grid
from nowcast.precipitation.archive.frames import Moments
from nowcast.precipitation.sources.measure import Measure, Unit

# Frames are named by year, month and day; a time outside these years is a damaged one.
FIRST_YEAR, LAST_YEAR = 1900, 2100
_TIME_IN_NAME = re.compile(
    r"(?<!\d)((?:19|20)\d\d)[-_.]?(0[1-9]|1[0-2])[-_.]?(0[1-9]|[12]\d|3[01])"
    r"(?:[-_.T]?([01]\d|2[0-3])[-_:.h]?([0-5]\d))?"
)


@dataclass(frozen=True)
class Field:
    """What a radar saw at one time.

    Args:
        time: UTC, unit minute. A source that sums rain states both ends of the sum: the time
            is its end, when all of it has been seen. A source that states one time has that one.
        values: row 0 north. NaN where there is no data; where it is dry, 0, or -inf in dBZ.
        unit: of the values; ``VIL`` are SEVIR's 8-bit levels.
        accumulation_minutes: over which rain was summed, where the source states it.
        grid: where the pixels lie, where the source states it.
        converted: how the source's own numbers became `values`; None where they are the same.
    """

    time: np.datetime64
    values: Float[np.ndarray, "height width"]
    unit: Unit
    accumulation_minutes: float | None = None
    grid: Grid | None = None
    converted: Measure | None = None


@dataclass(frozen=True)
class Source:
    """Fields in order of time, each read when it is asked for, so that memory stays bounded.

    Args:
        name: of the source, e.g. the folder, or the id of an event.
        times: of the fields, strictly ascending; no field was opened further than needed for it.
        read: the field at a position.
        where: what to name in a message about the field at a position: its file.
        notes: what was read into the source that it does not say itself, a line each.
        stated_step: minutes that its first sum is over, where it states them: between the frames
            of a source of one.

    Raises:
        DataError: the times do not ascend.
    """

    name: str
    times: Moments
    read: Callable[[int], Field]
    where: Callable[[int], str]
    notes: tuple[str, ...] = ()
    stated_step: int | None = None

    def __post_init__(self) -> None:
        check_ascending(self.times, self.where)

    def __len__(self) -> int:
        return len(self.times)

    def __iter__(self) -> Iterator[Field]:
        return (self.read(position) for position in range(len(self)))


@dataclass(frozen=True)
class Request:
    """What a user says of a source, as far as its format leaves it open.

    Args:
        unit: of the values, in any spelling that `measure` reads; needed where the source does
            not state it.
        times: ``.npy`` file with the times of an ``.npy`` stack.
        datasets: names of the frames and the times in a stack; None: by their units and axes.
        south_first: a stack's row 0 is its southernmost.
        north_first: it is its northernmost; needed only where the file leaves it open.
        projection: of a stack, where its file does not state it: what PROJ reads.
        bounds: outer edges of a stack's frames in the projection's unit: west, south, east, north.
        name_pattern: `datetime.strptime` pattern of the file names, for pysteps.
        settings: passed on to pysteps' importer.
        catalog: SEVIR's CATALOG.csv.
        events: SEVIR ids; all in the file if empty.
        skip: files of a folder that are passed over, since they are damaged.
    """

    unit: str | None = None
    times: Path | None = None
    datasets: tuple[str, str] | None = None
    south_first: bool = False
    north_first: bool = False
    projection: str | None = None
    bounds: tuple[float, float, float, float] | None = None
    name_pattern: str | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    catalog: Path | None = None
    events: tuple[str, ...] = ()
    skip: frozenset[Path] = frozenset()


def check_ascending(times: Moments, where: Callable[[int], str]) -> None:
    """Raise `DataError` where a clock stands still or goes backwards.

    Args:
        times: in the order of the source.
        where: what to name in a message about the time at a position.
    """
    back = np.diff(times).astype(np.int64) <= 0
    if back.any():
        position = int(back.argmax())
        raise DataError(
            f"{where(position + 1)}: expected a later time than {times[position]} of "
            f"{where(position)}, found {times[position + 1]}; sort the frames with their times "
            "and remove what stands twice"
        )


def source_of_files(
    name: str,
    found: list[tuple[np.datetime64, float | None, Path]],
    read: Callable[[Path], Field],
    notes: tuple[str, ...] = (),
) -> Source:
    """A source of one file a time.

    Args:
        name: of the source.
        found: of every file the time, and the minutes that it states to sum rain over.
        read: the field of a file.
        notes: see `Source`.

    Raises:
        DataError: two files have the same time, or some sum rain over other minutes than most.
    """
    ordered = sorted(found, key=lambda item: (item[0], item[2]))
    for (time, _, path), (following, _, other) in pairwise(ordered):
        if time == following:
            raise DataError(
                f"{path} and {other}: both hold the time {time}; remove one of them (or convert the"
                " products one by one)"
            )
    return Source(
        name,
        np.array([time for time, *_ in ordered], dtype="datetime64[m]"),
        lambda position: read(ordered[position][2]),
        lambda position: str(ordered[position][2]),
        notes,
        whole(_commonest_sum({path: minutes for _, minutes, path in found})),
    )


def to_minute(time: datetime, path: Path) -> np.datetime64:
    """The nearest minute (``04:59:59`` is 05:00).

    Raises:
        DataError: the year is not one that radar has seen.
    """
    if not FIRST_YEAR <= time.year < LAST_YEAR:
        raise DataError(f"{path}: expected a time of our days, found {time}; the file is damaged")
    seconds = np.datetime64(time.replace(tzinfo=None), "s").astype(np.int64)
    return np.datetime64(int((seconds + 30) // 60), "m")


def time_in_name(name: str) -> np.datetime64 | None:
    """The time that a file's name states, to the minute, or to the day at 00:00; None without.

    Year, month, day, hour and minute in this order, apart or together: ``..._202405011205.h5``,
    ``20240501-120500.grib2``, ``2024-05-01T12:05``.
    """
    match = _TIME_IN_NAME.search(name)
    if match is None:
        return None
    year, month, day, hour, minute = match.groups()
    try:
        return np.datetime64(f"{year}-{month}-{day}T{hour or '00'}:{minute or '00'}", "m")
    except ValueError:  # 31 April
        return None


def _commonest_sum(sums: Mapping[Path, float | None]) -> float | None:
    """The minutes that most files sum rain over; None where one does not state them."""
    counts = Counter(sums.values())
    (minutes, most), *_ = counts.most_common()
    if len(counts) > 1 and None not in counts and 2 <= most >= len(sums) / 2:
        path, other = next(item for item in sums.items() if item[1] != minutes)
        raise DataError(
            f"{path}: expected a sum over {minutes:g} minutes as {most} of {len(sums)} files have, "
            f"found {other:g}; convert the two products one by one, or remove the file"
        )
    return None if None in counts else minutes


def whole(minutes: float | None) -> int | None:
    """Minutes as a whole number; None where they are none."""
    return int(minutes) if minutes is not None and minutes == int(minutes) else None
