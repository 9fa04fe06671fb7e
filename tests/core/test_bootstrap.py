"""What the paired block bootstrap may say, and when it must keep silent."""

import numpy as np
import pytest
from scipy import stats

from nowcast.core.bootstrap import LEAST_BLOCKS, differences
from nowcast.core.sums import Sums
from nowcast.core.table import Column

COLUMNS = (Column("error", "Error", "less", 2), Column("hit", "Hit", "more", 2))
RNG = np.random.default_rng(0)
HARD = RNG.gamma(2.0, 1.0, 40)  # how hard each block is, for any forecaster


def parts(errors: np.ndarray, hits: np.ndarray | None = None) -> list[Sums]:
    hits = np.zeros(len(errors), dtype=np.int64) if hits is None else hits
    return [
        Sums({"error": np.array(3.0 * error), "hits": np.array(hit), "samples": np.array(3)})
        for error, hit in zip(errors, hits, strict=True)
    ]


def read(sums: Sums) -> dict[str, float | None]:
    hits = int(sums["hits"])
    return {
        "error": float(sums["error"] / sums["samples"]),
        "hit": hits / int(sums["samples"]) if hits else None,
    }


def test_what_blocks_share_is_not_held_against_a_difference():
    # Far smaller than the spread between blocks, but the same in each.
    (error, hit) = differences({"a": parts(HARD), "b": parts(HARD + 0.01)}, read, COLUMNS)
    assert (error.one, error.other, error.score) == ("a", "b", "error")
    assert error.value == pytest.approx(-0.01)
    assert error.low == pytest.approx(-0.01) and error.high == pytest.approx(-0.01)
    assert error.verdict == "better"
    assert error.turned().verdict == "worse" and error.turned().value == pytest.approx(0.01)
    assert hit.verdict == "undefined"


def test_the_interval_is_that_of_the_mean_difference():
    noise = RNG.normal(0.05, 0.2, len(HARD))
    error, _ = differences({"a": parts(HARD + noise), "b": parts(HARD)}, read, COLUMNS)
    expected = stats.norm.interval(0.95, noise.mean(), stats.sem(noise))
    assert error.low == pytest.approx(expected[0], abs=0.02)
    assert error.high == pytest.approx(expected[1], abs=0.02)


def test_equal_in_law_is_not_distinguishable_and_more_can_be_better():
    hits = np.arange(40) % 3 + 1
    found = differences(
        {"a": parts(HARD, hits + 1), "b": parts(RNG.permutation(HARD), hits)}, read, COLUMNS
    )
    assert [each.verdict for each in found] == ["not distinguishable", "better"]


def test_every_pair_and_the_same_again():
    three = {"a": parts(HARD), "b": parts(HARD + RNG.normal(size=40)), "c": parts(HARD * 2)}
    found = differences(three, read, COLUMNS)
    pairs = [(each.one, each.other) for each in found if each.score == "error"]
    assert pairs == [("a", "b"), ("a", "c"), ("b", "c")]
    assert differences(three, read, COLUMNS) == found
    assert differences({"a": parts(HARD)}, read, COLUMNS) == []


def test_a_few_blocks_or_rare_events_give_no_interval():
    few = HARD[: LEAST_BLOCKS - 1]
    error, _ = differences({"a": parts(few), "b": parts(few + 1)}, read, COLUMNS)
    assert error.value == pytest.approx(-1)
    assert (error.low, error.high) == (None, None)
    assert "4 of at least 5 blocks" in error.verdict
    once = np.zeros(40, dtype=np.int64)
    once[7] = 1  # a third of the resamples are without this block
    _, hit = differences({"a": parts(HARD, once), "b": parts(HARD, once)}, read, COLUMNS)
    assert (hit.value, hit.low) == (0.0, None)
    assert "too few events" in hit.verdict
