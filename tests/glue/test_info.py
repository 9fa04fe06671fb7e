"""`nowcast data glue` tells what is there, what is absent and what is broken."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from nowcast.core.errors import DataError
from nowcast.glue.data import info
from nowcast.glue.data.info import PartInfo, glue_info
from tests.glue.glue_files import write, write_all

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def glue(tmp_path: Path) -> Path:
    return write_all(tmp_path / "glue")


def found(root: Path, title: str, part: str | None = "train") -> PartInfo:
    (one,) = [info for info in glue_info(root) if (info.title, info.part) == (title, part)]
    return one


def test_figures_are_those_of_the_files(glue: Path):
    figures = found(glue, "SST-2").figures
    assert figures.examples == 3
    assert figures.shares == pytest.approx({"0": 1 / 3, "1": 2 / 3})
    assert (figures.mean_words, figures.most_words) == (pytest.approx(5 / 3), 3)
    assert figures.mean_score is None and figures.left_out == ()
    pairs = found(glue, "STS-B").figures
    assert (pairs.mean_score, pairs.shares, pairs.most_words) == (4.25, None, 5)
    assert found(glue, "MNLI").row()[4] == ("entailment 33.3%, neutral 33.3%, contradiction 33.3%")
    assert found(glue, "QNLI", "test").row()[2:5] == ["2", "no, 5463", "kept back"]
    assert [each.state for each in glue_info(glue)] == ["read"] * 30


def test_a_number_is_the_published_one_or_not(glue: Path):
    header = "index|sentence1|sentence2|label"
    assert found(glue, "QQP").published == 363846 - 2  # two lack a question
    write(glue / "WNLI/dev.tsv", header, *(f"{number}|a|b|1" for number in range(71)))
    dev, train = found(glue, "WNLI", "dev"), found(glue, "WNLI")
    assert (dev.is_published, dev.row()[3]) == (True, "yes")
    assert (train.is_published, train.row()[3]) == (False, "no, 635")


def test_left_out_rows_are_noted_but_not_all(glue: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(info, "LEFT_OUT_SHOWN", 2)
    header = "id|qid1|qid2|question1|question2|is_duplicate"
    path = write(glue / "QQP/dev.tsv", header, "1", "2", "3|1|2|a|b|1", "4")
    dev = found(glue, "QQP", "dev")
    assert dev.figures.examples == 1 and dev.row()[-1] == "3"
    notes = dev.notes()
    assert notes[0] == f"left out: {path}:2: expected 6 columns, found 1"
    assert notes[2] == "left out: 1 more of QQP dev"


def test_no_data_set_at_all_is_an_error_with_what_is_there(tmp_path: Path):
    (tmp_path / "letters").mkdir()
    with pytest.raises(DataError, match=r"expected folders of GLUE \(CoLA, .*AX\), found letters"):
        glue_info(tmp_path)


def test_the_command_on_a_whole_folder(run: Run, glue: Path, tmp_path: Path):
    status, out, err = run("data", "glue", glue, "--json", tmp_path / "glue.json")
    assert (status, err) == (0, "")
    assert "MNLI" in out and "dev_mismatched" in out and "mean 4.25" in out
    written = json.loads((tmp_path / "glue.json").read_text())
    assert len(written) == 30
    assert written[0]["figures"]["shares"] == {"0": 0.5, "1": 0.5}
    assert (written[0]["title"], written[0]["part"]) == ("CoLA", "train")
    assert (written[0]["is_published"], written[0]["published"]) == (False, 8551)


def test_the_command_on_what_is_absent_or_broken(
    run: Run,
    tmp_path: Path,
):
    header = "index|sentence1|sentence2|label"
    write(tmp_path / "RTE/train.tsv", header, "0|a|b|entailment")
    status, out, _ = run("data", "glue", tmp_path)
    assert status == 0
    assert out.count("absent") == 9 + 2  # nine data sets, and RTE's dev and test
    path = write(tmp_path / "RTE/dev.tsv", header, "0|a|b|contradiction")
    status, out, _ = run("data", "glue", tmp_path)
    assert status == 1
    assert "broken" in out and f"RTE: {path}:2: column 'label': expected entailment or" in out
    status, _, err = run("data", "glue", tmp_path / "none")
    assert (status, "found no folder" in err) == (2, True)
