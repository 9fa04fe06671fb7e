"""Rows of GLUE's TSV files, which quote nothing: a quotation mark is a character like any other."""

import difflib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from nowcast.core.errors import DataError


class Broken(NamedTuple):
    """A line that is no row.

    Args:
        why: expected and found numbers of columns.
    """

    why: str


def read_rows(
    path: Path, columns: Sequence[str], header: Sequence[str] | None = None
) -> Iterator[tuple[int, list[str] | Broken]]:
    """The rows of a file, one at a time: line number from 1, and the text in the asked columns.

    Lines end at LF or CRLF; the file is UTF-8, with or without a byte order mark. A line with
    another number of columns is given as `Broken`: some files are known to have such.

    Args:
        path: the file.
        columns: names of the columns to give, in the order to give them.
        header: names of all columns where the file's first line is a row; None where it is the
            header.

    Raises:
        DataError: the file is absent or empty, a line is no UTF-8, or the header lacks a column.
    """
    try:
        if not path.is_file():  # opening a named pipe would wait for ever
            raise DataError(f"{path}: expected a TSV file, found none; put GLUE's own file there")
        with path.open("rb") as file:
            lines = enumerate(file, start=1)
            if header is None:
                _, first = next(lines, (1, b""))
                if not first:
                    raise DataError(
                        f"{path}: expected a header and rows, found an empty file; fetch it anew"
                    )
                header = _text(path, 1, first).split("\t")
            positions = [_position(path, header, column) for column in columns]
            width = len(header)
            for number, raw in lines:
                fields = _text(path, number, raw).split("\t")
                if len(fields) == width:
                    yield number, [fields[position] for position in positions]
                else:
                    yield number, Broken(f"expected {width} columns, found {len(fields)}")
    except OSError as error:
        raise DataError(f"{path}: expected a TSV file: {error}") from error


def _text(path: Path, number: int, raw: bytes) -> str:
    """A line without its end."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}:{number}: expected UTF-8, found byte 0x{raw[error.start]:02x} at byte column "
            f"{error.start + 1}; fetch the file anew, or save it as UTF-8"
        ) from error
    if number == 1:
        text = text.removeprefix("\ufeff")
    return text.removesuffix("\n").removesuffix("\r")


def _position(path: Path, header: Sequence[str], column: str) -> int:
    if column in header:
        return header.index(column)
    near = difflib.get_close_matches(column, header, n=1, cutoff=0.0)
    raise DataError(
        f"{path}:1: expected a column {column!r}, found {', '.join(map(repr, header))}; "
        f"nearest is {near[0]!r}"
    )
