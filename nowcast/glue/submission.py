"""Predictions of the test parts, as GLUE's leaderboard takes them: one zip of TSV files."""

import math
import zipfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nowcast.core.errors import ConfigError
from nowcast.core.storage.files import write_whole
from nowcast.glue.benchmark import DATA_SETS, SCORE_RANGE, DataSet, Part, data_set

NAME = "submission.zip"
OLDEST = (1980, 1, 1, 0, 0, 0)  # the first moment a zip can state; the same bytes at any time

PartOf = tuple[str, Part]  # name of a data set, and one of its test parts


@dataclass(frozen=True)
class Predictions:
    """Predictions of a test part.

    Args:
        index: the examples' numbers, `Examples.index`; each once.
        values: a class from 0, or a score, for each number.

    Raises:
        ConfigError: the numbers of both differ or are none, or an index stands twice.
    """

    index: Sequence[int]
    values: Sequence[int] | Sequence[float]

    def __post_init__(self) -> None:
        if not self.index or len(self.index) != len(self.values):
            raise ConfigError(
                f"predictions: expected one for each example, found {len(self.values)} for "
                f"{len(self.index)} examples"
            )
        if len(set(self.index)) != len(self.index):
            raise ConfigError("predictions: expected each index once, found one twice")


def write_submission(out: Path, predictions: Mapping[PartOf, Predictions]) -> Path:
    """Write the leaderboard's files of the given parts into ``submission.zip``; its path.

    The same predictions give the same bytes, in whichever order they come.

    Args:
        out: folder to write to.
        predictions: by data set and test part; see `missing` for what the leaderboard wants.

    Raises:
        ConfigError: a part the leaderboard has no file for, a class the data set has not, or a
            score that is no number.
    """
    texts = {_leaderboard(*part): _text(part, found) for part, found in predictions.items()}
    if not texts:
        raise ConfigError(f"{out / NAME}: expected predictions of a test part, found none")

    def write(temporary: Path) -> None:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as file:
            for name in sorted(texts):
                file.writestr(_entry(name), texts[name])

    write_whole(out / NAME, write)
    return out / NAME


def missing(parts: Collection[PartOf]) -> list[str]:
    """The files the leaderboard wants and would not get."""
    given = {_leaderboard(*part) for part in parts}
    wanted = [
        layout.leaderboard
        for found in DATA_SETS.values()
        for layout in found.parts.values()
        if layout.leaderboard is not None
    ]
    return [name for name in wanted if name not in given]


def _leaderboard(name: str, part: Part) -> str:
    file = data_set(name).layout(part).leaderboard
    if file is None:
        tests = ", ".join(data_set(name).parts_of("test"))
        raise ConfigError(f"{name}: the leaderboard takes {tests}, found {part}")
    return file


def _text(part: PartOf, predictions: Predictions) -> str:
    found = data_set(part[0])
    rows = sorted(zip(predictions.index, predictions.values, strict=True))
    lines = [f"{index}\t{_prediction(found, index, value)}\n" for index, value in rows]
    return "".join(["index\tprediction\n", *lines])


def _prediction(found: DataSet, index: int, value: int | float) -> str:
    if found.words is None:
        if not math.isfinite(value):
            raise ConfigError(f"{found.title}: index {index}: expected a score, found {value}")
        lowest, highest = SCORE_RANGE
        return f"{min(max(lowest, value), highest):.3f}"
    if value not in range(len(found.words)):
        raise ConfigError(
            f"{found.title}: index {index}: expected a class from 0 to {len(found.words) - 1}, "
            f"found {value}"
        )
    return found.words[int(value)]


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, OLDEST)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.create_system = 3  # Unix, wherever it is written
    entry.external_attr = 0o644 << 16
    return entry
