"""What GLUE is, as data: ten data sets, the files they are distributed in, what the files hold.

Columns, numbers of examples and the leaderboard's file names are those of gluebenchmark.com (Wang
et al. 2019, arXiv:1804.07461); classes are in the order that Hugging Face's `glue` has them.
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from nowcast.core.errors import ConfigError

Part = Literal[
    "train", "dev", "dev_matched", "dev_mismatched", "test", "test_matched", "test_mismatched"
]

SCORE_RANGE = (0.0, 5.0)  # STS-B: from nothing in common to the same meaning


@dataclass(frozen=True)
class PartLayout:
    """Where one part of a data set stands, and in which columns.

    Args:
        files: the names its file may have.
        first: column of the sentence, or of the first of two.
        second: column of the second sentence; None where there is one.
        label: column of the label; None where it is kept back (test).
        index: column of the number that a prediction is handed in under; None outside test.
        published: number of examples.
        header: names of the columns where the file has no header; None where it has one.
        leaderboard: the file its predictions are handed in as; None outside test.
        without_text: how many of the published examples lack a sentence, and are left out.
    """

    files: tuple[str, ...]
    first: str
    second: str | None
    label: str | None
    index: str | None
    published: int
    header: tuple[str, ...] | None = None
    leaderboard: str | None = None
    without_text: int = 0


@dataclass(frozen=True)
class DataSet:
    """One of GLUE's data sets.

    Args:
        name: as configs and commands name it.
        title: as GLUE writes it.
        folders: names of its folder, compared without regard to case.
        words: the label of each class, in the order of the classes; None where a score is asked.
        parts: its parts, in the order of tables.
        no_label: what stands in the label's place where people did not agree on one.
        has_broken_rows: rows of train and dev that are no rows are known, and left out.
    """

    name: str
    title: str
    folders: tuple[str, ...]
    words: tuple[str, ...] | None
    parts: Mapping[Part, PartLayout]
    no_label: str | None = None
    has_broken_rows: bool = False

    def layout(self, part: Part) -> PartLayout:
        """The layout of a part.

        Raises:
            ConfigError: the data set has no such part.
        """
        if part not in self.parts:
            raise ConfigError(f"{self.title} has no part {part}; it has {', '.join(self.parts)}")
        return self.parts[part]

    def parts_of(self, kind: Literal["train", "dev", "test"]) -> tuple[Part, ...]:
        """The parts to train, validate or test on; MNLI has two of dev and of test."""
        return tuple(part for part in self.parts if part.split("_")[0] == kind)


def _parts(
    first: str,
    second: str | None,
    label: str,
    published: tuple[int, int, int],
    leaderboard: str,
    index: str = "index",
) -> dict[Part, PartLayout]:
    labelled = PartLayout(("train.tsv",), first, second, label, None, published[0])
    return {
        "train": labelled,
        "dev": replace(labelled, files=("dev.tsv",), published=published[1]),
        "test": PartLayout(
            ("test.tsv",), first, second, None, index, published[2], leaderboard=leaderboard
        ),
    }


def _mnli() -> dict[Part, PartLayout]:
    train = PartLayout(("train.tsv",), "sentence1", "sentence2", "gold_label", None, 392_702)
    test = PartLayout(("test_matched.tsv",), "sentence1", "sentence2", None, "index", 9_796)
    return {
        "train": train,
        "dev_matched": replace(train, files=("dev_matched.tsv",), published=9_815),
        "dev_mismatched": replace(train, files=("dev_mismatched.tsv",), published=9_832),
        "test_matched": replace(test, leaderboard="MNLI-m.tsv"),
        "test_mismatched": replace(
            test, files=("test_mismatched.tsv",), published=9_847, leaderboard="MNLI-mm.tsv"
        ),
    }


def _cola() -> dict[Part, PartLayout]:
    parts = _parts("sentence", None, "label", (8_551, 1_043, 1_063), "CoLA.tsv")
    header = ("source", "label", "star", "sentence")
    return {
        "train": replace(parts["train"], header=header),
        "dev": replace(parts["dev"], header=header),
        "test": parts["test"],
    }


def _qqp() -> dict[Part, PartLayout]:
    published = (363_846, 40_430, 390_965)
    parts = _parts("question1", "question2", "is_duplicate", published, "QQP.tsv", "id")
    # Two of train have no second question: huggingface/datasets, issue 277.
    return parts | {"train": replace(parts["train"], without_text=2)}


_PAIR = ("sentence1", "sentence2")
_STRINGS = ("#1 String", "#2 String")
_ENTAILED = ("entailment", "not_entailment")
_NLI = ("entailment", "neutral", "contradiction")
_AX = PartLayout(
    ("AX.tsv", "diagnostic.tsv"), *_PAIR, None, "index", 1_104, leaderboard="AX.tsv"
)  # predicted by a model of MNLI

DATA_SETS: Mapping[str, DataSet] = {
    found.name: found
    for found in (
        DataSet("cola", "CoLA", ("CoLA",), ("0", "1"), _cola()),
        DataSet(
            "sst-2",
            "SST-2",
            ("SST-2", "SST2"),
            ("0", "1"),
            _parts("sentence", None, "label", (67_349, 872, 1_821), "SST-2.tsv"),
        ),
        DataSet(
            "mrpc",
            "MRPC",
            ("MRPC",),
            ("0", "1"),
            _parts(*_STRINGS, "Quality", (3_668, 408, 1_725), "MRPC.tsv"),
        ),
        DataSet(
            "sts-b",
            "STS-B",
            ("STS-B", "STSB"),
            None,
            _parts(*_PAIR, "score", (5_749, 1_500, 1_379), "STS-B.tsv"),
        ),
        DataSet("qqp", "QQP", ("QQP",), ("0", "1"), _qqp(), has_broken_rows=True),
        DataSet("mnli", "MNLI", ("MNLI",), _NLI, _mnli(), no_label="-"),
        DataSet(
            "qnli",
            "QNLI",
            ("QNLI",),
            _ENTAILED,
            _parts("question", "sentence", "label", (104_743, 5_463, 5_463), "QNLI.tsv"),
        ),
        DataSet(
            "rte",
            "RTE",
            ("RTE",),
            _ENTAILED,
            _parts(*_PAIR, "label", (2_490, 277, 3_000), "RTE.tsv"),
        ),
        DataSet(
            "wnli",
            "WNLI",
            ("WNLI",),
            ("0", "1"),
            _parts(*_PAIR, "label", (635, 71, 146), "WNLI.tsv"),
        ),
        DataSet("ax", "AX", ("AX", "diagnostic"), _NLI, {"test": _AX}),
    )
}


def data_set(name: str) -> DataSet:
    """A data set by its name, in any case.

    Raises:
        ConfigError: GLUE has none of this name.
    """
    if name.lower() not in DATA_SETS:
        near = difflib.get_close_matches(name.lower(), DATA_SETS, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ConfigError(f"GLUE has {', '.join(DATA_SETS)}, found {name!r}{hint}")
    return DATA_SETS[name.lower()]
