"""The examples of one part of a data set, every label checked."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from nowcast.core.errors import DataError
from nowcast.glue.benchmark import SCORE_RANGE, DataSet, Part, PartLayout
from nowcast.glue.data.folders import MICROSOFT
from nowcast.glue.data.folders import file_of as file_of
from nowcast.glue.data.mrpc import read_microsoft_rows
from nowcast.glue.data.tsv import Broken, read_rows

Rows = Iterator[tuple[int, list[str] | Broken]]


@dataclass(frozen=True)
class LeftOut:
    """A row that is no example.

    Args:
        path: the file.
        line: its line, from 1.
        why: what is wrong with it.
    """

    path: Path
    line: int
    why: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.why}"


@dataclass(frozen=True)
class Examples:
    """Examples of one part, in the order of the file; all sequences are equally long.

    Args:
        first: the sentence, or the first of two.
        second: the second sentence; None where there is one.
        labels: classes from 0 in the order of `DataSet.words`, or scores; None where they are
            kept back.
        index: the number that a prediction is handed in under (test), else the row's number
            from 0, rows that are left out counted.
        left_out: rows that are no examples.
    """

    first: tuple[str, ...]
    second: tuple[str, ...] | None
    labels: tuple[int, ...] | tuple[float, ...] | None
    index: tuple[int, ...]
    left_out: tuple[LeftOut, ...]

    def __len__(self) -> int:
        return len(self.first)


def read_examples(root: Path, data_set: DataSet, part: Part) -> Examples:
    """Read a part of a data set from GLUE's own files.

    Left out are rows that data sets are known to have: of MNLI those without an agreed label, of
    QQP's train and dev those with a line break in a question or without one of the questions.

    Args:
        root: folder that holds the data sets' folders, or the data set's own.
        data_set: which.
        part: one of its parts.

    Raises:
        ConfigError: `root` is no folder, or the data set has no such part.
        DataError: the part is absent, or a row of it is none that the data set can have.
    """
    layout = data_set.layout(part)
    files = file_of(root, data_set, part)
    if part in MICROSOFT and files[0].name == MICROSOFT[part][0]:
        layout = replace(layout, index=None)
        rows = read_microsoft_rows(files, _columns(layout), part)
    else:
        rows = read_rows(files[0], _columns(layout), layout.header)
    examples = _examples(files[0], data_set, layout, rows)
    if not len(examples):
        raise DataError(
            f"{' and '.join(map(str, files))}: expected examples of {part}, found none; fetch "
            f"GLUE's {data_set.title} anew"
        )
    return examples


def _columns(layout: PartLayout) -> list[str]:
    columns = (layout.first, layout.second, layout.label, layout.index)
    return [column for column in columns if column is not None]


def _examples(path: Path, data_set: DataSet, layout: PartLayout, rows: Rows) -> Examples:
    sentences = 1 if layout.second is None else 2
    is_labelled = layout.label is not None
    label_of = _score if data_set.words is None else _class_of(data_set.words)
    first: list[str] = []
    second: list[str] = []
    labels: list[float] = []
    index: list[int] = []
    left_out: list[LeftOut] = []
    skipped = left_out if data_set.has_broken_rows and is_labelled else None
    for number, line, row in _whole(path, rows, sentences, skipped):
        if is_labelled and row[sentences] == data_set.no_label:
            left_out.append(LeftOut(path, line, f"{layout.label} is {row[sentences]!r}: no label"))
            continue
        try:
            if is_labelled:
                labels.append(label_of(row[sentences]))
            index.append(number if layout.index is None else _number(row[-1]))
        except ValueError as error:
            column = layout.label if is_labelled else layout.index
            raise DataError(f"{path}:{line}: column {column!r}: {error}; mend the row") from error
        first.append(row[0])
        if sentences == 2:
            second.append(row[1])
    return Examples(
        first=tuple(first),
        second=tuple(second) if sentences == 2 else None,
        labels=tuple(labels) if is_labelled else None,
        index=tuple(index),
        left_out=tuple(left_out),
    )


def _whole(
    path: Path, rows: Rows, sentences: int, skipped: list[LeftOut] | None
) -> Iterator[tuple[int, int, list[str]]]:
    """Number, line and fields of rows with all columns and text in every sentence.

    Any other row is added to `skipped`; without such a list it is an error.
    """
    for number, (line, row) in enumerate(rows):
        if isinstance(row, Broken):
            why = row.why
        elif all(text.strip() for text in row[:sentences]):
            yield number, line, row
            continue
        else:
            why = "expected text in every sentence, found an empty one"
        if skipped is None:
            raise DataError(f"{path}:{line}: {why}; fetch the file anew, or mend the row")
        skipped.append(LeftOut(path, line, why))


def _class_of(words: tuple[str, ...]) -> Callable[[str], int]:
    classes = {word: position for position, word in enumerate(words)}

    def class_of(text: str) -> int:
        if text not in classes:
            raise ValueError(f"expected {' or '.join(words)}, found {text!r}")
        return classes[text]

    return class_of


def _score(text: str) -> float:
    lowest, highest = SCORE_RANGE
    try:
        score = float(text)
    except ValueError:
        score = math.nan
    if not lowest <= score <= highest:
        raise ValueError(f"expected a score from {lowest:g} to {highest:g}, found {text!r}")
    return score


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"expected a number from 0, found {text!r}")
    return int(text)
