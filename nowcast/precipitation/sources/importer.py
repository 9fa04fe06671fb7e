"""What an importer is, and the short way to write one: fields of files.

A package adds an importer by an entry point of `GROUP`, named as ``--importer`` takes it::

    [project.entry-points."nowcast.importers"]
    my_radar = "my_package:importer"

whose value is an `Importer`, usually of `file_importer`::

    def fields(path: Path) -> Iterator[Field]:
        yield Field(np.datetime64("2024-05-01T12:05", "m"), rates, "mm_h")

    importer = file_importer("*.txt", fields)
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np

from nowcast.core.errors import ConfigError, DataError, NowcastError
from nowcast.precipitation.sources.field import Field, Request, Source
from nowcast.precipitation.sources.measure import Unit

GROUP = "nowcast.importers"  # of entry points


@dataclass(frozen=True)
class Importer:
    """One format.

    Args:
        read: the sources at a path; one archive each. It passes over the files in `Request.skip`.
        uses: which of a `Request`'s fields it reads; any other that is set is an error.
        many: it may hold several archives, each to be named by `Source.name`.
        files: those of a folder that `read` opens before it returns; with ``--skip-damaged`` each
            is first read alone. None if it opens none.
        one_unit: the first of its files says which unit is read from all, where the user does not.
    """

    read: Callable[[Path, Request], list[Source]]
    uses: frozenset[str] = frozenset()
    many: bool = False
    files: Callable[[Path], list[Path]] | None = None
    one_unit: bool = False


def file_importer(pattern: str, fields: Callable[[Path], Iterable[Field]]) -> Importer:
    """An importer of files that each hold one field or several.

    `fields` is called once to list the times of a file and once to read it, so memory stays that of
    one file. What it raises becomes a `DataError` that names the file.

    Args:
        pattern: of the names of files in a folder, e.g. ``*.txt``.
        fields: those of a file, in any order.
    """

    def files(path: Path) -> list[Path]:
        if path.is_file():
            return [path]
        found = sorted(file for file in path.rglob(pattern) if file.is_file())
        if not found:
            raise ConfigError(
                f"{path}: expected a file, or files {pattern} in a folder; found none"
            )
        return found

    def read(path: Path, request: Request) -> list[Source]:
        where = [
            (field.time, file, number)
            for file in files(path)
            if file not in request.skip
            for number, field in enumerate(_checked(file, fields))
        ]
        where.sort()
        held: dict[Path, list[Field]] = {}

        def field_at(position: int) -> Field:
            _, file, number = where[position]
            if file not in held:
                held.clear()
                held[file] = list(_checked(file, fields))
            return held[file][number]

        return [
            Source(
                path.stem if path.is_file() else path.name,
                np.array([time for time, *_ in where], dtype="datetime64[m]"),
                field_at,
                lambda position: str(where[position][1]),
            )
        ]

    return Importer(read, files=files)


def _checked(file: Path, fields: Callable[[Path], Iterable[Field]]) -> Iterable[Field]:
    try:
        for field in fields(file):
            _check(field, file)
            yield field
    except NowcastError:
        raise
    except Exception as error:  # of code that is not ours
        raise DataError(
            f"{file}: its importer could not read it ({type(error).__name__}: {error}); it is "
            "damaged or of another format, or the importer has a fault"
        ) from error


def _check(field: object, file: Path) -> None:
    expected = "the importer's package must be mended"
    if not isinstance(field, Field):
        raise DataError(f"{file}: expected a Field from the importer, found {field!r}; {expected}")
    if field.unit not in get_args(Unit):
        units = ", ".join(get_args(Unit))
        raise DataError(f"{file}: expected a unit {units}, found {field.unit!r}; {expected}")
    values = field.values
    if not (isinstance(values, np.ndarray) and values.ndim == 2 and values.dtype.kind in "iuf"):
        raise DataError(
            f"{file}: expected values as numbers of shape (height, width), found "
            f"{getattr(values, 'dtype', type(values).__name__)} of shape {np.shape(values)}; "
            f"{expected}"
        )
    time = field.time
    if not isinstance(time, np.datetime64) or np.isnat(time):
        raise DataError(f"{file}: expected a time as datetime64, found {time!r}; {expected}")
    if time != time.astype("datetime64[m]"):
        raise DataError(f"{file}: expected a time on a whole minute, found {time}; {expected}")
