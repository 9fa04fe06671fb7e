"""Day lists for an archive that has none: `nowcast data days ROOT`.

The depth of a day is the rain rate averaged over its unmasked pixels, times the step, summed over
the frames that are there. A day is rainy from 1 mm on: the wet day of WMO's climate indices
(ETCCDI: RR >= 1 mm). Theirs is a gauge's; this one is the mean over the radar's area.
"""

import math
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from nowcast.core.errors import ConfigError, DataError
from nowcast.core.storage.files import writing
from nowcast.core.system.machine import usable_cpus
from nowcast.core.system.threads import in_order
from nowcast.precipitation.archive.days import SPLITS, Split, days_path, write_days
from nowcast.precipitation.archive.frames import FrameError, Moments
from nowcast.precipitation.archive.reader import ArchiveReader
from nowcast.precipitation.preparation.split_days import By, DaySplit, all_in, split_days

WET_DAY_MM = 1.0  # ETCCDI's wet day (index CWD, RR >= 1 mm); etccdi.pacificclimate.org


@dataclass(frozen=True)
class RainyDays:
    """What was found, and how it is split.

    Args:
        depth_mm: of every day that has frames, "YYYYMMDD" -> mm.
        split: the rainy days among them.
    """

    depth_mm: dict[str, float]
    split: DaySplit

    @property
    def rainy(self) -> int:
        """How many days are rainy."""
        return sum(map(len, self.split.days.values())) + len(self.split.left_out)

    def lists(self) -> dict[Split, dict[str, float]]:
        """The day lists, as `write_lists` takes them."""
        return {
            split: {_name(day): self.depth_mm[_name(day)] for day in self.split.days[split]}
            for split in SPLITS
        }

    def rows(self) -> list[list[str]]:
        """Split, days, first, last and depth in all, for a table."""
        parts = [*self.split.days.items(), ("left out", self.split.left_out)]
        return [
            [
                name,
                str(len(days)),
                str(days[0]),
                str(days[-1]),
                f"{sum(self.depth_mm[_name(day)] for day in days):.1f} mm",
            ]
            for name, days in parts
            if len(days)
        ]


def find_rainy_days(
    archive: ArchiveReader,
    *,
    threshold_mm: float = WET_DAY_MM,
    by: By | None = None,
    into: Split | None = None,
    every: int = 1,
    skip: Moments | None = None,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> RainyDays:
    """Find the rainy days of an archive from its frames, and split them.

    Args:
        archive: where the frames are.
        threshold_mm: depth from which on a day is rainy, mm.
        by: as `split_days` takes it.
        into: put all of them into this split, instead of splitting them.
        every: of each day, read every so many frames only; the depth is scaled by how many
            frames one that is read stands for.
        skip: times to pass over, as of `read_quarantine`; they add no rain.
        workers: threads that read; as many as there are processors if None.
        progress: called with (frames read, frames to read).

    Raises:
        ConfigError: an argument is out of range, or there are too few rainy days.
        DataError: a frame or a mask is damaged.
    """
    if not 0 <= threshold_mm < math.inf:
        raise ConfigError(f"--threshold-mm: expected at least 0, found {threshold_mm}")
    if every < 1:
        raise ConfigError(f"every: expected at least 1, found {every}")
    if by is not None and into is not None:
        raise ConfigError(f"--by, --all: all days into {into} leaves nothing to split; give one")
    depth_mm = dict(_depths(archive, every, skip, workers, progress))
    rainy = [day for day, depth in depth_mm.items() if depth >= threshold_mm]
    if not rainy:
        raise ConfigError(
            f"{archive.root}: expected days with at least {threshold_mm:g} mm of rain, found none "
            f"among {len(depth_mm)}, the wettest has {max(depth_mm.values(), default=0):.2f} mm; "
            "lower --threshold-mm"
        )
    days = np.array([f"{day[:4]}-{day[4:6]}-{day[6:]}" for day in rainy], dtype="datetime64[D]")
    return RainyDays(depth_mm, split_days(days, by) if into is None else all_in(into, days))


def write_lists(folder: Path, lists: dict[Split, dict[str, float]]) -> None:
    """Write the three day lists, all or none.

    Raises:
        ConfigError: one of them is there already.
    """
    refuse_existing(folder)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=".days-", dir=folder))
    placed: list[Path] = []
    try:
        for split in SPLITS:
            write_days(part, split, lists[split])
        for split in SPLITS:
            path = days_path(folder, split)
            with writing(path):
                days_path(part, split).replace(path)
            placed.append(path)
    except BaseException:
        for path in placed:
            path.unlink()
        raise
    finally:
        shutil.rmtree(part)


def refuse_existing(folder: Path) -> None:
    """Raise ConfigError if a folder holds a day list, which is not ours to replace."""
    there = [str(path) for split in SPLITS if (path := days_path(folder, split)).exists()]
    if there:
        raise ConfigError(
            f"expected no day lists yet, found {', '.join(there)}; remove them or write elsewhere "
            "with --out FOLDER"
        )


def _depths(
    archive: ArchiveReader,
    every: int,
    skip: Moments | None,
    workers: int | None,
    progress: Callable[[int, int], None] | None,
) -> Iterator[tuple[str, float]]:
    """Each day with its depth in mm, ascending."""
    moments = archive.moments
    if skip is not None:
        moments = moments[~np.isin(moments, skip)]
    borders = np.flatnonzero(np.diff(moments.astype("datetime64[D]")).astype(np.int64)) + 1
    days = [day for day in np.split(moments, borders) if len(day)]
    total = sum(len(day[::every]) for day in days)
    done = 0
    depth = partial(_depth_mm, archive, every, _weights(archive))
    results = in_order(depth, days, usable_cpus() if workers is None else workers)
    for day, depth_mm in zip(days, results, strict=True):
        done += len(day[::every])
        if progress is not None:
            progress(done, total)
        yield _name(day[0].astype("datetime64[D]")), depth_mm


@dataclass(frozen=True)
class _Weights:
    usable: np.ndarray | None
    has_masks: bool
    rate_mm_h: np.ndarray


def _weights(archive: ArchiveReader) -> _Weights:
    """What is read once, before the threads start."""
    try:
        usable = archive.usable
    except ConfigError:
        usable = None
    rate_mm_h = archive.calibration.rate_by_level()
    return _Weights(usable, archive.has_masks, rate_mm_h)


def _depth_mm(archive: ArchiveReader, every: int, weights: _Weights, day: Moments) -> float:
    hours = float(archive.step / np.timedelta64(1, "m")) / 60
    read = day[::every]
    total = 0.0
    for moment in read:
        try:
            levels = archive.frame(moment)
            mask = weights.usable
            if weights.has_masks:
                own = archive.mask(moment)
                mask = own if mask is None else own & mask
        except FrameError as error:
            raise DataError(
                f"{error}. Or list what is damaged with `nowcast data check {archive.root} "
                "--quarantine FILE` and give --quarantine FILE here"
            ) from error
        counts = np.bincount(levels.ravel() if mask is None else levels[mask], minlength=256)
        if counts.any():  # a frame that is masked throughout tells nothing
            total += float(counts @ weights.rate_mm_h / counts.sum()) * hours
    return total * len(day) / len(read)


def _name(day: np.datetime64) -> str:
    return str(day).replace("-", "")
