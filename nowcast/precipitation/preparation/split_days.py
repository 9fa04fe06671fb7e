"""Rainy days become three splits that no rain can pass between: neighbouring days never part.

Days next to each other share weather, so a split takes whole episodes (runs of rainy days) and
where one must be cut, the day before the cut belongs to no split.
"""

from dataclasses import dataclass
from typing import Literal, cast, get_args

import numpy as np
from jaxtyping import Bool, Int64, Shaped

from nowcast.core.errors import ConfigError
from nowcast.precipitation.archive.days import SPLITS, Split

By = Literal["year", "episode"]

SortedDays = Shaped[np.ndarray, "_"]  # datetime64[D], ascending, each once

YEARS_NEEDED = 3  # for a split by year where none is asked for
VALID_SHARE_OF_YEARS = 0.1  # of the days before the test year
TRAIN_SHARE, VALID_SHARE = 0.70, 0.15  # by episode; the rest is for test


@dataclass(frozen=True)
class DaySplit:
    """Which rainy day goes where.

    Args:
        by: how it was split; ``all`` is not at all.
        days: of each split, ascending; none is empty, unless all days are in one.
        left_out: rainy days of no split, since they touch a day of another.
    """

    by: By | Literal["all"]
    days: dict[Split, SortedDays]
    left_out: SortedDays


def known_by(by: str | None) -> By | None:
    """A way to split that a user names; None stays None.

    Raises:
        ConfigError: there is no such way.
    """
    for known in (None, *get_args(By)):
        if by == known:
            return cast("By | None", known)
    raise ConfigError(f"by: expected {' or '.join(get_args(By))}, found {by!r}")


def all_in(split: Split, days: SortedDays) -> DaySplit:
    """All days in one split, the other two empty."""
    none = days[:0]
    return DaySplit("all", {name: days if name == split else none for name in SPLITS}, none)


def known_split(split: str | None) -> Split | None:
    """A split that a user names; None stays None.

    Raises:
        ConfigError: there is no such split.
    """
    for known in (None, *SPLITS):
        if split == known:
            return known
    raise ConfigError(f"--all: expected {', '.join(SPLITS)}, found {split!r}")


def split_days(days: SortedDays, by: By | None = None) -> DaySplit:
    """Split rainy days so that no two splits hold the same or neighbouring days.

    By year: the last calendar year is for test; of the days before it, whole episodes spread
    evenly, about `VALID_SHARE_OF_YEARS` of the days, are for validation. By episode: in order of
    time, whole episodes, about `TRAIN_SHARE` of the days for training and `VALID_SHARE` for
    validation. With too few episodes one is cut, and the day before each cut is left out.

    Args:
        days: the rainy days.
        by: by year where they lie in `YEARS_NEEDED` years or more, else by episode, if None.

    Raises:
        ConfigError: there are too few days for three splits.
    """
    years = days.astype("datetime64[Y]")
    if by is None:
        by = "year" if len(np.unique(years)) >= YEARS_NEEDED else "episode"
    split = np.full(len(days), -1)
    if by == "year":
        test = np.isin(years, years[-1:])
        split[test] = SPLITS.index("test")
        # New Year's Eve touches a test day if it rains on both sides of midnight.
        before = np.flatnonzero(~test & ~_touches_next(days, test))
        split[before] = _with_valid_episodes(days[before])
    else:
        split[:] = _chronological(days)
    found = {name: days[split == number] for number, name in enumerate(SPLITS)}
    empty = [name for name in SPLITS if not len(found[name])]
    if empty:
        raise ConfigError(
            f"{len(days)} rainy days in {len(np.unique(years))} years and "
            f"{len(_episodes(days))} runs are too few to split by {by}: nothing is left for "
            f"{' and '.join(empty)}, since neighbouring days may not part; "
            f"{'split by episode, ' if by == 'year' else ''}lower --threshold-mm, "
            "add days, or put all into one split with --all, e.g. --all test"
        )
    return DaySplit(by, found, days[split < 0])


def _touches_next(days: SortedDays, other: Bool[np.ndarray, " day"]) -> Bool[np.ndarray, " day"]:
    """Whether the day after is one of the other days."""
    return np.isin(days + np.timedelta64(1, "D"), days[other])


def _episodes(days: SortedDays) -> list[Int64[np.ndarray, "_"]]:
    """Positions of the days of each run without a dry day."""
    gaps = np.flatnonzero(np.diff(days) > np.timedelta64(1, "D")) + 1
    return [run for run in np.split(np.arange(len(days)), gaps) if len(run)]


def _with_valid_episodes(days: SortedDays) -> Int64[np.ndarray, " day"]:
    """Train (0), valid (1) or left out (-1), with whole validation episodes spread evenly."""
    split = np.zeros(len(days), dtype=np.int64)
    episodes = _episodes(days)
    if len(episodes) == 1:
        held = max(1, round(VALID_SHARE_OF_YEARS * len(days)))
        split[-held:] = 1
        split[-held - 1 : -held] = -1
        return split
    count = max(1, round(VALID_SHARE_OF_YEARS * len(episodes))) if episodes else 0
    for stretch in np.array_split(np.arange(len(episodes)), count) if count else []:
        wanted = VALID_SHARE_OF_YEARS * sum(len(episodes[number]) for number in stretch)
        middle = stretch[len(stretch) // 2]
        nearest = min(
            stretch,
            key=lambda number: (abs(len(episodes[number]) - wanted), abs(number - middle)),
        )
        split[episodes[nearest]] = 1
    return split


def _chronological(days: SortedDays) -> Int64[np.ndarray, " day"]:
    """Train (0), then valid (1), then test (2); all left out (-1) if it cannot be."""
    split = np.full(len(days), -1)
    first_of = np.arange(1, len(days))  # a cut is named by the first day after it
    lost = (np.diff(days) == np.timedelta64(1, "D")).astype(np.int64)
    if len(_episodes(days)) >= len(SPLITS):
        first_of, lost = first_of[lost == 0], lost[lost == 0]
    end = first_of - lost  # of the days that stay before the cut
    valid_cuts = np.flatnonzero(end >= 1)
    if not len(valid_cuts):
        return split
    test_cuts = np.flatnonzero(end > first_of[valid_cuts[0]])
    if not len(test_cuts):
        return split
    wanted = (TRAIN_SHARE + VALID_SHARE) * len(days)
    test_cut = test_cuts[np.abs(first_of[test_cuts] - wanted).argmin()]
    valid_cuts = valid_cuts[first_of[valid_cuts] < end[test_cut]]
    wanted = TRAIN_SHARE * len(days)
    valid_cut = valid_cuts[np.abs(first_of[valid_cuts] - wanted).argmin()]
    split[: end[valid_cut]] = 0
    split[first_of[valid_cut] : end[test_cut]] = 1
    split[first_of[test_cut] :] = 2
    return split
