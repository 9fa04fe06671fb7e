"""Image files that are left out, as a list that people can read and edit: `data.unreadable: FILE`.

A csv file: the header ``file,reason``, then a line for each file, its path from the tree's root
with ``/`` between folders. `nowcast data images ROOT --unreadable FILE` writes it.
"""

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from nowcast.core.errors import ConfigError, DataError
from nowcast.core.storage.files import write_bytes

HEADER = ["file", "reason"]


@dataclass(frozen=True)
class Unreadable:
    """One line of the list.

    Args:
        file: path from the tree's root.
        reason: why it cannot be read.
    """

    file: str
    reason: str


def write_unreadable(path: Path, found: Iterable[Unreadable]) -> None:
    """Write a list in one move, ascending by file."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER)
    for entry in sorted(found, key=lambda entry: entry.file):
        writer.writerow([entry.file, " ".join(entry.reason.split())])
    # A name that is no UTF-8 keeps its bytes.
    content = text.getvalue().encode("utf-8", "surrogateescape")
    write_bytes(path, content)


def read_unreadable(path: Path) -> frozenset[str]:
    """The files of a list.

    Raises:
        ConfigError: the list is absent.
        DataError: it has another header, or a line that is not ``file,reason``.
    """
    if not path.is_file():
        raise ConfigError(
            f"{path}: expected a list of unreadable files, found none; write it with "
            "`nowcast data images ROOT --unreadable FILE`"
        )
    text = path.read_bytes().decode("utf-8-sig", "surrogateescape")
    reader = csv.reader(io.StringIO(text, newline=""))
    rows = list(reader)
    if not rows or rows[0] != HEADER:
        raise DataError(f"{path}, line 1: expected `file,reason`, found {rows[:1] or 'nothing'}")
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != 2:
            raise DataError(f"{path}, entry {number}: expected `file,reason`, found {row}")
    return frozenset(row[0] for row in rows[1:])
