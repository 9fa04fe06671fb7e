"""Times in ODIM files, in the spellings that are sent, and the interval of a rain sum."""

import re
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from nowcast.core.errors import DataError
from nowcast.precipitation.sources.field import to_minute
from nowcast.precipitation.sources.hdf5 import text

_DATE = re.compile(r"(\d{4})([-/.]?)(\d{2})\2(\d{2})")
_TIME = re.compile(r"T?(\d{2})(:?)(\d{2})(?:\2(\d{2})(?:[.,]\d*)?)?\s*(?:Z|UTC)?")


def time_of(date: str, time: str, path: Path) -> np.datetime64:
    """A date and a time as the nearest minute.

    ODIM has YYYYMMDD and HHmmss. Read too: dashes and colons, times without seconds, 240000 for
    the end of the day, and the leap second 235960.

    Raises:
        DataError: they are none.
    """
    day, hours = _DATE.fullmatch(date), _TIME.fullmatch(time.upper())
    try:
        if day is None or hours is None:
            raise ValueError("another form")
        hour, minute, second = int(hours[1]), int(hours[3]), int(hours[4] or 0)
        if minute > 59 or second > 60 or hour > 24 or (hour == 24 and minute + second > 0):
            raise ValueError("no time of a day")
        start = datetime(int(day[1]), int(day[3]), int(day[4]))
        return to_minute(start + timedelta(hours=hour, minutes=minute, seconds=second), path)
    except (ValueError, OverflowError) as error:
        raise DataError(
            f"{path}: expected a date YYYYMMDD and a time HHmmss, found {date!r} and {time!r}; it "
            "is damaged"
        ) from error


def sum_times(whats: list[Any], path: Path) -> tuple[np.datetime64, float | None]:
    """The end of a rain sum, and its minutes; None where the file does not state its start.

    Args:
        whats: ``what`` groups, nearest first.
        path: of the file.

    Raises:
        DataError: no end is stated, or it is not after the start.
    """
    end, start = _stated(whats, "end", path), _stated(whats, "start", path)
    if end is None:
        raise DataError(
            f"{path}: expected the attributes enddate and endtime of a rain sum in a what group, "
            "found not both; when its rain fell cannot be told: add them, or write the field out "
            "as a stack"
        )
    if start is None:
        return end, None
    if end <= start:
        raise DataError(f"{path}: the sum ends at {end}, not after it starts at {start}")
    return end, float((end - start).astype(np.int64))


def _stated(whats: list[Any], which: str, path: Path) -> np.datetime64 | None:
    for what in whats:
        if f"{which}date" in what.attrs and f"{which}time" in what.attrs:
            return time_of(text(what, f"{which}date"), text(what, f"{which}time"), path)
    return None
