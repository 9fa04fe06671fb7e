"""One moment of radar as its source gives it: values, unit and place, before it is a frame."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import numpy as np
from jaxtyping import Float

from nowcast.core.errors import ConfigError, DataError
from nowcast.precipitation.archive.description import Grid
from nowcast.precipitation.archive.frames import Moments
from nowcast.precipitation.sources.hdf5 import SUFFIXES, is_hdf5
from nowcast.precipitation.sources.measure import WORKS, Measure, Unit, measure

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
        converted: how the source's own numbers became `values`; None where they are the same.
    """

    moment: np.datetime64
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
        moments: of the fields, strictly ascending; no field was opened further than needed for it.
        read: the field at a position.
        where: what to name in a message about the field at a position: its file.
        notes: what was read into the source that it does not say itself, a line each.
        stated_step: minutes that its first sum is over, where it states them: between the frames
            of a source of one.

    Raises:
        DataError: the moments do not ascend.
    """

    name: str
    moments: Moments
    read: Callable[[int], Field]
    where: Callable[[int], str]
    notes: tuple[str, ...] = ()
    stated_step: int | None = None

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
        unit: of the values, in any spelling that `measure` reads; needed where the source does
            not state it.
        times: ``.npy`` file with the times of an ``.npy`` stack.
        datasets: names of the frames and the times in an HDF5 stack.
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
    datasets: tuple[str, str] = ("frames", "times")
    south_first: bool = False
    north_first: bool = False
    projection: str | None = None
    bounds: tuple[float, float, float, float] | None = None
    name_pattern: str | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    catalog: Path | None = None
    events: tuple[str, ...] = ()
    skip: frozenset[Path] = frozenset()


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
    stated_step: int | None = None,
) -> Source:
    """A source of one file a moment.

    Args:
        name: of the source.
        found: the moment of every file.
        read: the field of a file.
        notes: see `Source`.
        stated_step: see `Source`.

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
        stated_step,
    )


def files_in(
    source: Path, skip: frozenset[Path] = frozenset()
) -> tuple[list[Path], tuple[str, ...]]:
    """The source itself, or all HDF5 files under it, by name; and a note of what was left out.

    A file is HDF5 by its content, whatever its name. One that is not, but is named as HDF5 files
    are (or as those beside it), is damaged: it is among them, and reading it says so.

    Raises:
        ConfigError: there is no such file or folder, or nothing in it.
    """
    if source.is_file():
        return [source], ()
    if not source.is_dir():
        raise ConfigError(f"{source}: expected a file or a folder to convert, found none")
    every = sorted(path for path in source.rglob("*") if path.is_file())
    inside = {path for path in every if is_hdf5(path)}
    named = {path.suffix.lower() for path in inside if path.suffix} | set(SUFFIXES)
    found = [path for path in every if path in inside or path.suffix.lower() in named]
    if not found:
        shown = ", ".join(path.name for path in every[:3])
        raise ConfigError(
            f"{source}: expected HDF5 files (usually ending in {', '.join(SUFFIXES)}), found none "
            f"among {len(every)} files{f', e.g. {shown}' if shown else ''}; is this the folder, "
            "unpacked, and the right --importer?"
        )
    left_out = len(every) - len(found)
    found = [path for path in found if path not in skip]
    return found, ((f"{left_out} files left out, which are not HDF5",) if left_out else ())


def to_minute(time: datetime, path: Path) -> np.datetime64:
    """The nearest minute (``04:59:59`` is 05:00).

    Raises:
        DataError: the year is not one that radar has seen.
    """
    if not FIRST_YEAR <= time.year < LAST_YEAR:
        raise DataError(f"{path}: expected a time of our days, found {time}; the file is damaged")
    seconds = np.datetime64(time.replace(tzinfo=None), "s").astype(np.int64)
    return np.datetime64(int((seconds + 30) // 60), "m")


def said_measure(request: Request) -> Measure | None:
    """What ``--unit`` says; None where it is not given.

    Raises:
        ConfigError: it is no unit of rain or reflectivity.
    """
    if request.unit is None:
        return None
    try:
        found = measure(request.unit)
    except ValueError as error:
        raise ConfigError(f"--unit: {error}") from error
    if found is None:
        raise ConfigError(f"--unit: expected {WORKS}; found {request.unit!r}")
    return found


def agreed_measure(
    stated: str | None,
    request: Request,
    where: str,
    importer: str,
    advice: str = "mend the attribute, or leave it out of the file and give --unit",
) -> Measure:
    """The unit of a source: what it states, or where it states none what the user says.

    Args:
        stated: by the source, in its own spelling; None where it states none.
        request: what the user says.
        where: what to name in a message.
        importer: by name, likewise.
        advice: what to do about a unit that is not understood.

    Raises:
        ConfigError: neither states it, or the user's is none.
        DataError: the source's is not understood, or they contradict each other.
    """
    said = said_measure(request)
    try:
        found = None if stated is None else measure(stated)
    except ValueError as error:
        raise DataError(f"{where}: {error} as its units; {advice}") from error
    if found is None:
        if said is None:
            raise ConfigError(
                f"--unit: --importer {importer} needs to know it, since {where} states none; give "
                "dBZ, mm/h (a rain rate) or mm (a rain sum)"
            )
        return said
    if said is not None and not said.same(found):
        raise DataError(
            f"{where}: states the units {stated!r}, but --unit says {request.unit}; leave --unit "
            "out (or mend the attribute)"
        )
    return found


def only_unit(held: list[Unit], request: Request, importer: str, path: Path) -> Unit:
    """The unit in which a file is read: the one that the user says, else the only one it holds.

    Args:
        held: units of what the file holds.
        request: what the user says.
        importer: by name, for messages.
        path: of the file, likewise.

    Raises:
        ConfigError: none is stated and the file holds several, or it is no unit.
        DataError: the user's is not one that the format has.
    """
    said = said_measure(request)
    if said is not None:
        if said.factor != 1 or said.linear:
            raise DataError(
                f"{path}: {importer} files are in {said.unit} or another unit that they state, but "
                f"--unit says {request.unit}; leave --unit out"
            )
        return said.unit
    if not held:
        raise DataError(f"{path}: expected rain or reflectivity, found neither")
    several = sorted(set(held))
    if len(several) > 1:
        raise ConfigError(
            f"--unit: {path} holds {' and '.join(several)}; say which one to convert, e.g. --unit "
            f"{several[-1]}"
        )
    return several[0]


def commonest_sum(sums: Mapping[Path, float | None]) -> float | None:
    """The minutes that most files sum rain over; None where one does not state them.

    Args:
        sums: of each file.

    Raises:
        DataError: some differ from what half the files or more have; it names the first of them.
    """
    counts = Counter(sums.values())
    (minutes, most), *_ = counts.most_common()
    if len(counts) > 1 and None not in counts and 2 <= most >= len(sums) / 2:
        path, found = next(item for item in sums.items() if item[1] != minutes)
        raise DataError(
            f"{path}: expected a sum over {minutes:g} minutes as {most} of {len(sums)} files have, "
            f"found {found:g}; convert the two products one by one, or remove the file"
        )
    return None if None in counts else minutes


def whole(minutes: float | None) -> int | None:
    """Minutes as a whole number; None where they are none."""
    return int(minutes) if minutes is not None and minutes == int(minutes) else None
