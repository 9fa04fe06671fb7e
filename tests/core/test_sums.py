"""Sums merge; scores survive the way into JSON and back."""

import json

import numpy as np
import pytest

from nowcast.core.sums import Scores, Sums


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
