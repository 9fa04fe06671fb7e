"""Configs are shown by what differs, origins by what is shared and what is not."""

import torch

from nowcast.core.report.provenance import config_differences, origins, versions
from nowcast.core.scoring.table import DASH

PLAIN = {
    "train": {"steps": 20, "seed": 0},
    "memel": None,
    "optim": {"lr": 0.01, "betas": [0.9, 0.95]},
    "start_from": None,
}
HASHES = ["0123456789ab", "fedcba987654"]


def test_only_keys_that_differ_are_listed_against_the_first():
    inhibited = PLAIN | {"memel": {"delta": 1.0, "sites": None}}
    tuned = PLAIN | {"optim": {"lr": 0.001, "betas": [0.9, 0.95]}, "start_from": "/runs/Plain"}
    found = config_differences({"Plain": PLAIN, "Inhibited": inhibited, "Tuned": tuned})
    assert found is not None
    assert found.header == ["Key", "Plain", "Inhibited", "Tuned"]
    assert found.rows == [
        ["optim.lr", "0.01", "", "0.001"],
        ["memel.delta", DASH, "1.0", ""],
        ["memel.sites", DASH, "null", ""],
    ]


def test_a_seed_and_a_parent_are_no_differences():
    other = PLAIN | {"train": {"steps": 20, "seed": 1}, "start_from": "/runs/Plain"}
    assert config_differences({"Plain": PLAIN, "Other": other}) is None
    assert config_differences({"Plain": PLAIN}) is None


def test_a_list_and_a_switched_off_part_are_values():
    other = PLAIN | {"optim": {"lr": 0.01, "betas": [0.5, 0.95]}}
    on = {"part": {"size": 3}}
    found = config_differences({"A": PLAIN | on, "B": other | {"part": None}})
    assert found is not None
    assert found.rows == [
        ["optim.betas", "[0.9, 0.95]", "[0.5, 0.95]"],
        ["part.size", "3", DASH],
    ]


def test_what_origins_share_is_said_once():
    runs = {
        f"P/seed {seed}": {"version": "0.1", "data": {"days": HASHES[0]}, "config": HASHES[seed]}
        for seed in (0, 1)
    }
    found = origins(runs)
    assert found.shared == {"version": "0.1", "data.days": "0123456789ab"}
    assert found.differing is not None
    assert found.differing.header == ["Variant", "Seed", "config"]
    assert found.differing.rows == [["P", "0", "0123456789ab"], ["P", "1", "fedcba987654"]]


def test_a_key_that_one_run_lacks_is_a_difference():
    found = origins({"P/seed 0": {"key": "a", "code": "b"}, "P/seed 1": {"key": "a"}})
    assert found.shared == {"key": "a"}
    assert found.differing is not None
    assert found.differing.rows == [["P", "0", "b"], ["P", "1", DASH]]
    assert origins({"P/seed 0": {"key": "a"}}).differing is None
    assert origins({}).shared == {}


def test_origins_stand_by_variant_and_equal_seeds_are_one_row():
    runs = {f"{name}/seed {seed}": {"config": name} for seed in (0, 1) for name in ("A/B", "C")}
    runs["C/seed 2"] = {"config": "other"}
    found = origins(runs).differing
    assert found is not None
    assert found.rows == [["A/B", "0, 1", "A/B"], ["C", "0, 1", "C"], ["C", "2", "other"]]


def test_versions_are_those_that_run():
    assert versions()["torch"] == torch.__version__
    assert list(versions()) == ["nowcast", "python", "torch", "numpy"]
