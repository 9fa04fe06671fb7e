"""Sums merge; scores survive the way into JSON and back."""

import json
from pathlib import Path

import numpy as np
import pytest

from nowcast.core.errors import RunError
from nowcast.core.scoring.sums import Scores, Sums, load_blocks, save_blocks


def test_sums_add_by_name():
    total = Sums({"n": np.array([1, 2]), "e": np.array([0.5])}) + Sums(
        {"n": np.array([10, 20]), "e": np.array([0.25])}
    )
    assert total["n"].tolist() == [11, 22]
    assert total["n"].dtype == np.int64
    assert total["e"].tolist() == [0.75]


def test_sums_are_float64_or_int64():
    with pytest.raises(AssertionError):
        Sums({"e": np.array([0.5], dtype=np.float32)})


def test_a_document_nests_families_and_reads_back():
    scores = Scores(
        values={"b_mse": 2.5, "csi/0.5": 0.25, "csi/30": None},
        curves={"b_mse": (2.0, 3.0), "csi/0.5": (0.5, 0.0), "csi/30": (None, None)},
        along="lead_time",
        axis_name="minutes",
        axis=(6.0, 12.0),
    )
    document = json.loads(json.dumps(scores.document()))
    assert document["csi"] == {"0.5": 0.25, "30": None}
    assert document["by_lead_time"]["minutes"] == [6.0, 12.0]
    assert document["by_lead_time"]["csi"]["30"] == [None, None]
    assert Scores.from_document(document) == scores


def test_support_and_reasons_survive_the_way_into_json_and_back():
    scores = Scores(
        values={"b_mse": 2.5, "csi/30": None},
        curves={"b_mse": (2.0, 3.0), "csi/30": (None, None)},
        along="lead_time",
        axis_name="minutes",
        axis=(6.0, 12.0),
        support={"clips": 4, "pixels": 100, "hits/30": 0},
        support_curves={"pixels": (60, 40), "hits/30": (0, 0)},
        why={"csi/30": "no event"},
    ).resting_on(episodes=2)
    document = json.loads(json.dumps(scores.document()))
    assert document["support"] == {"clips": 4, "pixels": 100, "hits": {"30": 0}, "episodes": 2}
    assert document["undefined"] == {"csi": {"30": "no event"}}
    assert document["by_lead_time"]["support"] == {"pixels": [60, 40], "hits": {"30": [0, 0]}}
    assert document["csi"] == {"30": None}
    assert Scores.from_document(document) == scores


def test_scores_without_curves_have_none_in_json_and_older_files_are_read():
    scores = Scores({"accuracy": 90.0}, support={"examples": 4})
    assert scores.document() == {"accuracy": 90.0, "support": {"examples": 4}}
    assert Scores.from_document(scores.document()) == scores
    older = Scores.from_document({"accuracy": 90.0, "by_lead_time": {"place": []}})
    assert (older.values, older.curves, older.axis) == ({"accuracy": 90.0}, {}, ())


def test_the_sums_of_blocks_come_back_with_names_types_and_order(tmp_path: Path):
    blocks = {
        "2018-05-20T00:00": Sums({"n/a": np.array([[1, 2], [3, 4]]), "e": np.array(0.1)}),
        "2018-05-19T00:00": Sums({"n/a": np.array([[5, 6], [7, 8]]), "e": np.array(0.2)}),
    }
    save_blocks(tmp_path / "sums.safetensors", blocks)
    found = load_blocks(tmp_path / "sums.safetensors")
    assert list(found) == list(blocks)
    for name, sums in blocks.items():
        for key, value in sums.values.items():
            assert found[name][key].dtype == value.dtype and found[name][key].shape == value.shape
            np.testing.assert_array_equal(found[name][key], value)


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04cut"])
def test_what_is_not_the_sums_of_blocks_is_refused(tmp_path: Path, content: bytes):
    (tmp_path / "sums.safetensors").write_bytes(content)
    with pytest.raises(RunError, match="expected the sums of a scored run"):
        load_blocks(tmp_path / "sums.safetensors")
