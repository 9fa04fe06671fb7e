"""What is in a folder of GLUE: `nowcast data glue DIR`."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from nowcast.core.errors import DataError
from nowcast.glue.benchmark import DATA_SETS, DataSet, Part
from nowcast.glue.data.examples import Examples, read_examples
from nowcast.glue.data.folders import Absent, folder_of

HEADER = ("set", "part", "examples", "published", "labels", "mean words", "most words", "left out")
LEFT_OUT_SHOWN = 10  # lines a part; the JSON file has them all


@dataclass(frozen=True)
class Figures:
    """What a part that can be read holds.

    Args:
        examples: how many.
        shares: share of the examples that each label word has; None where a score is asked, or
            labels are kept back.
        mean_score: None where classes are asked, or labels are kept back.
        mean_words: words of an example, both sentences together, parted at white space.
        most_words: of the longest example.
        left_out: rows that are no examples, each with its file and line.
    """

    examples: int
    shares: dict[str, float] | None
    mean_score: float | None
    mean_words: float
    most_words: int
    left_out: tuple[str, ...]


@dataclass(frozen=True)
class PartInfo:
    """One part of a data set, or a data set that is absent as a whole.

    Args:
        title: of the data set.
        part: None where the data set is absent or stands there twice.
        state: broken where it is there and cannot be read.
        published: number of examples that GLUE has, without those that lack a sentence; None
            without `part`.
        figures: None where it cannot be read.
        error: why not.
    """

    title: str
    part: Part | None
    state: Literal["read", "absent", "broken"]
    published: int | None
    figures: Figures | None
    error: str | None

    @property
    def is_published(self) -> bool:
        """It has as many examples as GLUE's own."""
        return self.figures is not None and self.figures.examples == self.published

    def row(self) -> list[str]:
        """A table's row, under `HEADER`."""
        if self.figures is None:
            return [self.title, self.part or "", self.state, *[""] * (len(HEADER) - 3)]
        found = self.figures
        if found.shares is not None:
            labels = ", ".join(f"{word} {share:.1%}" for word, share in found.shares.items())
        else:
            labels = "kept back" if found.mean_score is None else f"mean {found.mean_score:.2f}"
        return [
            self.title,
            self.part or "",
            str(found.examples),
            "yes" if self.is_published else f"no, {self.published}",
            labels,
            f"{found.mean_words:.1f}",
            str(found.most_words),
            str(len(found.left_out)),
        ]

    def notes(self) -> list[str]:
        """What a table has no room for: the error, or the rows that are left out."""
        if self.error is not None:
            return [] if self.state == "absent" else [f"{self.title}: {self.error}"]
        left_out = [] if self.figures is None else list(self.figures.left_out)
        more = len(left_out) - LEFT_OUT_SHOWN
        return [f"left out: {place}" for place in left_out[:LEFT_OUT_SHOWN]] + (
            [f"left out: {more} more of {self.title} {self.part}"] if more > 0 else []
        )


def glue_info(root: Path) -> list[PartInfo]:
    """Read everything in a folder of GLUE, and say what is there.

    Raises:
        ConfigError: `root` is no folder.
        Absent: none of GLUE's data sets is in it.
    """
    infos = [info for data_set in DATA_SETS.values() for info in _infos(root, data_set)]
    if all(info.state == "absent" for info in infos):
        names = ", ".join(sorted(path.name for path in root.iterdir())[:20]) or "nothing"
        titles = ", ".join(data_set.title for data_set in DATA_SETS.values())
        raise Absent(f"{root}: expected folders of GLUE ({titles}), found {names}")
    return infos


def _infos(root: Path, data_set: DataSet) -> list[PartInfo]:
    try:
        folder_of(root, data_set)
    except DataError as error:
        return [PartInfo(data_set.title, None, _state(error), None, None, str(error))]
    return [_info(root, data_set, part) for part in data_set.parts]


def _info(root: Path, data_set: DataSet, part: Part) -> PartInfo:
    layout = data_set.layout(part)
    published = layout.published - layout.without_text
    try:
        figures = _figures(read_examples(root, data_set, part), data_set)
    except DataError as error:
        return PartInfo(data_set.title, part, _state(error), published, None, str(error))
    return PartInfo(data_set.title, part, "read", published, figures, None)


def _state(error: DataError) -> Literal["absent", "broken"]:
    return "absent" if isinstance(error, Absent) else "broken"


def _figures(examples: Examples, data_set: DataSet) -> Figures:
    words = [len(text.split()) for text in examples.first]
    if examples.second is not None:
        words = [n + len(text.split()) for n, text in zip(words, examples.second, strict=True)]
    shares, mean_score = None, None
    if examples.labels is not None and data_set.words is not None:
        counts = Counter(examples.labels)
        shares = {
            word: counts[position] / len(examples) for position, word in enumerate(data_set.words)
        }
    elif examples.labels is not None:
        mean_score = sum(examples.labels) / len(examples)
    return Figures(
        examples=len(examples),
        shares=shares,
        mean_score=mean_score,
        mean_words=sum(words) / len(examples),
        most_words=max(words),
        left_out=tuple(map(str, examples.left_out)),
    )
