"""Times that training skips, as a list that people can read and edit: `data.quarantine: FILE`.

A csv file: the header ``moment,kind,detail``, then one line for each thing found wrong, its time
in UTC as ``YYYY-MM-DDTHH:MM``. `nowcast data check ROOT --quarantine FILE` writes it.
"""

import csv
import io
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nowcast.core.errors import ConfigError, DataError
from nowcast.core.storage.files import write_text
from nowcast.precipitation.archive.frames import Moments

HEADER = ("moment", "kind", "detail")
MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}")


@dataclass(frozen=True)
class Excluded:
    """One line of a quarantine file.

    Args:
        moment: the frame to skip, UTC, to the minute.
        kind: what is wrong, in the words of `nowcast data check`.
        detail: more of it, for people.
    """

    moment: np.datetime64
    kind: str
    detail: str


def write_quarantine(path: Path, excluded: Iterable[Excluded]) -> None:
    """Write a quarantine file in one move, ascending by moment."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER)
    for line in sorted(excluded, key=lambda line: (line.moment, line.kind, line.detail)):
        moment = line.moment.astype("datetime64[m]")
        # One line is one entry, whatever a detail quotes.
        writer.writerow((moment, " ".join(line.kind.split()), " ".join(line.detail.split())))
    write_text(path, text.getvalue())


def read_quarantine(path: Path) -> Moments:
    """The times of a quarantine file, each once, ascending.

    Raises:
        ConfigError: the file is absent.
        DataError: no UTF-8 text, another header, or a line that is not ``moment,kind,detail``.
    """
    if not path.exists():
        raise ConfigError(
            f"{path}: expected a quarantine file, found none; write it with "
            "`nowcast data check ROOT --quarantine FILE`"
        )
    try:
        if not path.is_file():  # opening a named pipe would wait for ever
            raise OSError("it is no regular file")
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: expected a quarantine file (csv): {error}") from error
    lines = text.removesuffix("\n").split("\n")
    if lines[0] != ",".join(HEADER):
        raise DataError(f"{path}, line 1: expected `{','.join(HEADER)}`, found {lines[0]!r}")
    moments = [_moment(path, number, line) for number, line in enumerate(lines[1:], start=2)]
    return np.unique(np.array(moments, dtype="datetime64[m]"))


def _moment(path: Path, number: int, line: str) -> np.datetime64:
    try:
        (row,) = csv.reader([line], strict=True)
        moment, _, _ = row
        if MOMENT.fullmatch(moment) is None:
            raise ValueError("no moment")
        return np.datetime64(moment, "m")
    except (ValueError, csv.Error) as error:
        raise DataError(
            f"{path}, line {number}: expected `YYYY-MM-DDTHH:MM,kind,detail` with a time that "
            f"exists, found {line!r}"
        ) from error
