"""Files that cannot be read: left out of a conversion and listed, where the user allows it."""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nowcast.core.errors import DataError
from nowcast.core.storage.files import write_text
from nowcast.precipitation.sources.apart.decoder import DECODER
from nowcast.precipitation.sources.field import Field, Request, Source
from nowcast.precipitation.sources.table import importer

SKIPPED = "skipped.csv"  # in the archive's folder
HEADER = ["file", "reason"]


@dataclass(frozen=True)
class Skipped:
    """A file, or a field of one, that was left out.

    Args:
        file: its path, or where in a file.
        reason: why it cannot be read.
    """

    file: str
    reason: str

    @classmethod
    def of(cls, where: object, error: DataError) -> "Skipped":
        """What an error says of a file, or of a field of one."""
        reason = str(error).removeprefix(f"{where}: ")
        return cls(str(where), " ".join(reason.split()))


def damaged_files(name: str, source: Path, request: Request) -> dict[Path, Skipped]:
    """The files of a folder that an importer cannot read by themselves, before it reads them all.

    Importers that take the time from the file's name open nothing to list a folder, and a stack is
    one file: what is damaged there shows as it is read, see `Fields`.

    Args:
        name: of the importer.
        source: what is to be converted.
        request: what the user says of it.

    Raises:
        DataError: all of them are damaged; it gives the first one's reason.
    """
    chosen = importer(name)
    if chosen.files is None or not source.is_dir():
        return {}
    paths = chosen.files(source)
    found: dict[Path, Skipped] = {}
    for path in paths:
        try:
            DECODER.sources(name, path, request)
        except DataError as error:
            found[path] = Skipped.of(path, error)
    if found and len(found) == len(paths):
        first = found[paths[0]]
        raise DataError(
            f"{source}: expected files that can be read, found {len(found)} that cannot, the "
            f"first {first.file}: {first.reason}"
        )
    return found


class Fields:
    """The fields of a source in their order, without those that cannot be read.

    Args:
        source: of the fields.
        skips: leave out what is damaged instead of raising it.
        skipped: what has been left out already; more is added as it is found.
    """

    def __init__(self, source: Source, skips: bool, skipped: list[Skipped]) -> None:
        self._source = source
        self._skips = skips
        self.skipped = skipped

    def __iter__(self) -> Iterator[tuple[int, Field]]:
        for position in range(len(self._source)):
            try:
                field = self._source.read(position)
            except DataError as error:
                if not self._skips:
                    raise
                self.skipped.append(Skipped.of(self._source.where(position), error))
                continue
            yield position, field


def write_skipped(folder: Path, skipped: list[Skipped]) -> None:
    """Add to the list of an archive; nothing where nothing was skipped."""
    path = folder / SKIPPED
    earlier: list[list[str]] = []
    if path.is_file():
        earlier = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8"))))[1:]
    rows = [[entry.file, entry.reason] for entry in skipped]
    names = {row[0] for row in rows}
    rows += [row for row in earlier if row and row[0] not in names]
    if not rows:
        return
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER)
    writer.writerows(sorted(rows))
    write_text(path, text.getvalue())
