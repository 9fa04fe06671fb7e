"""MRPC from Microsoft's own files, split as GLUE's download script splits it.

A row of the training file is dev where its pair of ids is listed; both parts keep the order of
the training file. In the test part an example's index is its row's number; labels are not read.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from nowcast.core.errors import DataError
from nowcast.glue.benchmark import Part
from nowcast.glue.data.tsv import Broken, read_rows

IDS = ("#1 ID", "#2 ID")


def read_microsoft_rows(
    files: Sequence[Path], columns: Sequence[str], part: Part
) -> Iterator[tuple[int, list[str] | Broken]]:
    """Rows as `read_rows` gives them, of one part.

    Args:
        files: the file of the sentences; for train and dev, the file of dev's ids too.
        columns: names of the columns to give.
        part: train, dev or test.

    Raises:
        DataError: as `read_rows`, or the list of ids is none.
    """
    if part == "test":
        yield from read_rows(files[0], columns)
        return
    dev = _pairs(files[1])
    for line, row in read_rows(files[0], [*columns, *IDS]):
        if isinstance(row, Broken):
            yield line, row
        elif (tuple(row[-2:]) in dev) == (part == "dev"):
            yield line, row[:-2]


def _pairs(path: Path) -> set[tuple[str, ...]]:
    pairs = set()
    for line, row in read_rows(path, IDS, header=IDS):
        if isinstance(row, Broken):
            raise DataError(f"{path}:{line}: expected the ids of a pair: {row.why}")
        pairs.add(tuple(row))
    return pairs
