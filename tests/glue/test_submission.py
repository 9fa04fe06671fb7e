"""A submission is the leaderboard's files, in its words, and the same bytes each time."""

import zipfile
from pathlib import Path

import pytest

from nowcast.core.errors import ConfigError
from nowcast.glue.benchmark import DATA_SETS
from nowcast.glue.submission import Predictions, missing, write_submission


def texts(path: Path) -> dict[str, str]:
    with zipfile.ZipFile(path) as file:
        assert file.testzip() is None
        return {name: file.read(name).decode() for name in file.namelist()}


def test_files_hold_label_words_classes_and_clipped_scores(tmp_path: Path):
    path = write_submission(
        tmp_path / "new",
        {
            ("mnli", "test_mismatched"): Predictions([0, 1, 2], [2, 0, 1]),
            ("ax", "test"): Predictions([5], [1]),
            ("qnli", "test"): Predictions([0, 1], [1, 0]),
            ("cola", "test"): Predictions([1, 0], [0, 1]),
            ("sts-b", "test"): Predictions([0, 1, 2, 3], [-0.0, 5.3, 2.34567, -2]),
        },
    )
    assert path == tmp_path / "new" / "submission.zip"
    assert texts(path) == {
        "AX.tsv": "index\tprediction\n5\tneutral\n",
        "CoLA.tsv": "index\tprediction\n0\t1\n1\t0\n",
        "MNLI-mm.tsv": "index\tprediction\n0\tcontradiction\n1\tentailment\n2\tneutral\n",
        "QNLI.tsv": "index\tprediction\n0\tnot_entailment\n1\tentailment\n",
        "STS-B.tsv": "index\tprediction\n0\t0.000\n1\t5.000\n2\t2.346\n3\t0.000\n",
    }
    assert [found.name for found in path.parent.iterdir()] == ["submission.zip"]


def test_the_same_predictions_give_the_same_bytes_in_any_order(tmp_path: Path):
    rte, wnli = Predictions([0, 1], [0, 1]), Predictions([4], [1])
    one = write_submission(tmp_path / "a", {("rte", "test"): rte, ("wnli", "test"): wnli})
    turned = Predictions([1, 0], [1, 0])
    other = write_submission(tmp_path / "b", {("wnli", "test"): wnli, ("rte", "test"): turned})
    assert one.read_bytes() == other.read_bytes()
    with zipfile.ZipFile(one) as file:
        assert {entry.date_time for entry in file.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_what_the_leaderboard_would_not_get():
    one = Predictions([0], [0])
    everything = {
        (name, part): one for name, found in DATA_SETS.items() for part in found.parts_of("test")
    }
    assert missing(everything) == []
    del everything["mnli", "test_matched"], everything["ax", "test"]
    assert missing(everything) == ["MNLI-m.tsv", "AX.tsv"]
    assert len(missing({})) == 11


@pytest.mark.parametrize(
    ("part", "values", "message"),
    [
        (("rte", "test"), [2], "RTE: index 0: expected a class from 0 to 1, found 2"),
        (("rte", "test"), [-1], "found -1"),
        (("rte", "test"), [0.5], r"found 0\.5"),
        (("sts-b", "test"), [float("nan")], "STS-B: index 0: expected a score, found nan"),
        (("rte", "dev"), [0], "rte: the leaderboard takes test, found dev"),
        (("rte", "test_matched"), [0], "RTE has no part test_matched"),
        (("rtf", "test"), [0], "did you mean rte"),
    ],
)
def test_what_cannot_be_handed_in_is_refused_and_nothing_is_written(
    tmp_path: Path, part, values: list[float], message: str
):
    with pytest.raises(ConfigError, match=message):
        write_submission(tmp_path / "new", {part: Predictions([0], values)})
    assert not (tmp_path / "new").exists()


def test_each_example_has_one_prediction(tmp_path: Path):
    with pytest.raises(ConfigError, match="found 1 for 2 examples"):
        Predictions([0, 1], [1])
    with pytest.raises(ConfigError, match="found 0 for 0 examples"):
        Predictions([], [])
    with pytest.raises(ConfigError, match="found one twice"):
        Predictions([0, 0], [1, 1])
    with pytest.raises(ConfigError, match="expected predictions of a test part"):
        write_submission(tmp_path, {})
