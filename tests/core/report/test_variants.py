"""Each variant is one row: what it comes from, where its config differs, its runs' origins."""

import torch

from nowcast.core.report.variants import differing, variant_table, versions
from nowcast.core.scoring.table import DASH

PLAIN = {
    "train": {"steps": 20, "seed": 0},
    "memel": None,
    "optim": {"lr": 0.01, "betas": [0.9, 0.95]},
    "start_from": None,
}


def test_only_keys_that_differ_are_listed():
    inhibited = PLAIN | {"memel": {"delta": 1.0, "sites": None}}
    tuned = PLAIN | {"optim": {"lr": 0.001, "betas": [0.9, 0.95]}, "start_from": "/runs/Plain"}
    configs = {"Plain": PLAIN, "Inhibited": inhibited, "Tuned": tuned}
    assert differing(configs) == {
        "optim.lr": {"Plain": 0.01, "Inhibited": 0.01, "Tuned": 0.001},
        "memel.delta": {"Plain": ..., "Inhibited": 1.0, "Tuned": ...},
        "memel.sites": {"Plain": ..., "Inhibited": None, "Tuned": ...},
    }
    rows, _ = variant_table(dict.fromkeys(configs), {}, [], configs, {})
    assert [row[2] for row in rows] == [
        f"optim.lr: 0.01\nmemel.delta: {DASH}\nmemel.sites: {DASH}",
        "optim.lr: 0.01\nmemel.delta: 1.0\nmemel.sites: null",
        f"optim.lr: 0.001\nmemel.delta: {DASH}\nmemel.sites: {DASH}",
    ]


def test_a_seed_and_a_parent_are_no_differences():
    other = PLAIN | {"train": {"steps": 20, "seed": 1}, "start_from": "/runs/Plain"}
    assert differing({"Plain": PLAIN, "Other": other}) == {}


def test_a_list_and_a_part_that_is_off_are_values():
    one = PLAIN | {"part": {"size": 3}}
    other = PLAIN | {"optim": {"lr": 0.01, "betas": [0.5, 0.95]}, "part": None}
    assert differing({"A": one, "B": other}) == {
        "optim.betas": {"A": [0.9, 0.95], "B": [0.5, 0.95]},
        "part.size": {"A": 3, "B": ...},
    }


def test_variants_stand_in_order_with_what_they_come_from_and_baselines_last():
    parents = {"P": None, "M": None, "T": "P", "Scored": "T"}
    edges = {"Scored": "scored again, the run of", "M": "searched, 20 trials"}
    rows, _ = variant_table(parents, edges, ["persistence"], {}, {})
    assert [row[:2] for row in rows] == [
        ["P", "from scratch"],
        ["M", "searched, 20 trials"],
        ["T", "fine-tuned from P"],
        ["Scored", "scored again, the run of T"],
        ["persistence", "baseline, not trained"],
    ]


def test_what_origins_share_is_listed_once_and_equal_seeds_together():
    runs = {
        f"{name}/seed {seed}": {"version": "0.1", "data": {"days": "0123"}, "config": name}
        for seed in (0, 1)
        for name in ("A/B", "C")
    }
    runs["C/seed 2"] = {"version": "0.1", "data": {"days": "0123"}}
    rows, shared = variant_table({"A/B": None, "C": None}, {}, [], {}, runs)
    assert shared == {"version": "0.1", "data.days": "0123"}
    assert [row[3] for row in rows] == ["0, 1: config A/B", f"0, 1: config C\n2: config {DASH}"]
    assert variant_table({"P": None}, {}, [], {}, {"P/seed 0": {"key": "a"}}) == (
        [["P", "from scratch", DASH, DASH]],
        {"key": "a"},
    )


def test_versions_are_those_that_run():
    assert versions()["torch"] == torch.__version__
    assert list(versions()) == ["nowcast", "python", "torch", "numpy"]
