"""Which files a user points at, and which of them are the newest: by their names, unopened."""

import re
from collections.abc import Sequence
from glob import glob, has_magic
from pathlib import Path

import numpy as np

from nowcast.core.errors import ConfigError
from nowcast.precipitation.archive.raw_files import files_under
from nowcast.precipitation.sources.field import time_in_name

NEWEST_FILES = 64  # opened for their times: five hours of a radar that sends every five minutes
UNNAMED_FILES = 4096  # the same where names state no time: all are opened


def listed(places: Sequence[Path]) -> list[Path]:
    """The files at these places, each once: files, folders with all below them, glob patterns.

    Hidden files are passed over, and those of endings that no radar has (`raw_files.NO_RADAR`),
    such as ``.part`` and ``.tmp``: a file that is still being written.

    Raises:
        ConfigError: a place is not there, or a pattern fits nothing.
    """
    found: dict[Path, None] = {}
    for place in places:
        for one in _expanded(place):
            found.update(dict.fromkeys(files_under(one)))
    return list(found)


def _expanded(place: Path) -> list[Path]:
    if place.exists():
        return [place]
    if has_magic(str(place)):
        matching = sorted(map(Path, glob(str(place.expanduser()), recursive=True)))  # noqa: PTH207, relative or not
        if matching:
            return matching
        raise ConfigError(f"{place}: expected files like this, found none; is the path right?")
    raise ConfigError(
        f"{place}: expected radar files or an archive, found nothing there; is the path right?"
    )


def newest_files(files: Sequence[Path], at: np.datetime64 | None = None) -> list[Path]:
    """The newest files by the times in their names, oldest first; those around `at` if it is given.

    The time in a name only orders files; which frames one holds, its content says. Of files whose
    names state no time all are given, in the order of their names.

    Raises:
        ConfigError: too many files without a time in their names.
    """
    times = {path: time_in_name(path.name) for path in files}
    named = sorted((time, _natural(path), path) for path, time in times.items() if time is not None)
    others = sorted((path for path, time in times.items() if time is None), key=_natural)
    if len(others) > UNNAMED_FILES:
        raise ConfigError(
            f"{others[0].parent}: expected times in the names of so many files (YYYYMMDDHHMM), "
            f"found {len(others)} without, e.g. {others[0].name}; give the newest ones, e.g. with "
            "a glob, or make an archive of them (`nowcast data convert`)"
        )
    last = len(named)
    if at is not None:
        last = sum(bool(time <= at) for time, *_ in named) + NEWEST_FILES // 2
    return others + [path for *_, path in named[max(0, last - NEWEST_FILES) : last]]


def _natural(path: Path) -> tuple[tuple[bool, int, str], ...]:
    """Numbers by their size: ``t9`` before ``t10``."""
    parts = re.split(r"(\d+)", str(path))
    return tuple((part.isdigit(), int(part) if part.isdigit() else 0, part) for part in parts)
