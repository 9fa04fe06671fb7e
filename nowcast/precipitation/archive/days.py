"""Which days train, validate and test: text lists ``YYYYMMDD, mm``, one line a day."""

import math
import shlex
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Literal, get_args

from nowcast.core.errors import ConfigError, DataError
from nowcast.core.storage.files import write_text
from nowcast.precipitation.archive.frames import LISTS_FOLDER

Split = Literal["train", "valid", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)

Days = Mapping[str, float]  # "YYYYMMDD" -> mean rain depth of the day, mm


def days_path(lists: Path, split: Split) -> Path:
    """The day list of a split, under HKO-7's own name."""
    return lists / f"hko7_rainy_{split}_days.txt"


def read_days(path: Path) -> dict[str, float]:
    """The days of a list and their rain depth in mm (NaN where the list has no depth).

    Raises:
        ConfigError: the file is absent.
        DataError: no UTF-8 text, a line is not ``YYYYMMDD`` or ``YYYYMMDD, mm``, or a day stands
            twice.
    """
    if not path.exists():
        raise ConfigError(
            f"{path}: expected a list of days, found none; `nowcast data days {_archive_of(path)}` "
            "makes the lists of an archive (`--all test` puts all its days into one), or write one "
            "line `YYYYMMDD, mm` a day"
        )
    try:
        if not path.is_file():  # opening a named pipe would wait for ever
            raise OSError("it is no regular file")
        lines = path.read_text(encoding="utf-8-sig").splitlines()  # Windows marks UTF-8 files
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: expected a text list of days: {error}") from error
    days: dict[str, float] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        day, _, depth = (part.strip() for part in line.partition(","))
        try:
            if datetime.strptime(day, "%Y%m%d").strftime("%Y%m%d") != day:
                raise ValueError("a day has eight digits")
            millimetres = float(depth) if depth else float("nan")
            if millimetres < 0 or math.isinf(millimetres):
                raise ValueError("rain has a depth")
        except ValueError as error:
            raise DataError(
                f"{path}, line {number}: expected `YYYYMMDD, mm`, found {line!r}"
            ) from error
        if day in days:
            raise DataError(f"{path}, line {number}: {day} stands twice; remove one")
        days[day] = millimetres
    return days


def _archive_of(path: Path) -> str:
    """The archive whose list this is, as a shell takes it."""
    folder = path.parent
    return shlex.quote(str(folder.parent if folder.name == LISTS_FOLDER else folder))


def write_days(lists: Path, split: Split, days: Days) -> None:
    """Write the day list of a split."""
    text = "".join(f"{day}, {depth:.1f}\n" for day, depth in sorted(days.items()))
    write_text(days_path(lists, split), text)


def read_splits(lists: Path) -> dict[Split, dict[str, float]]:
    """The day lists of all three splits.

    Raises:
        ConfigError: a list is absent.
        DataError: a list is malformed, or a day stands in two splits.
    """
    splits = {split: read_days(days_path(lists, split)) for split in SPLITS}
    seen: dict[str, Split] = {}
    for split, days in splits.items():
        for day in days:
            if day in seen:
                raise DataError(
                    f"{lists}: {day} stands in both the {seen[day]} and the {split} list; a day "
                    "belongs to one split"
                )
            seen[day] = split
    return splits
