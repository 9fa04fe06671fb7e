"""What the paired block bootstrap may say, and when it must keep silent."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from nowcast.core.comparison.statistics import bootstrap
from nowcast.core.comparison.statistics.bootstrap import (
    LEAST_BLOCKS,
    Blocks,
    Difference,
    differences,
)
from nowcast.core.scoring.sums import Sums
from nowcast.core.scoring.table import Column

COLUMNS = (
    Column("error", "Error", "less", 2, perfect=0.0),
    Column("hit", "Hit", "more", 2, perfect=1.0),
)
RNG = np.random.default_rng(0)
HARD = RNG.gamma(2.0, 1.0, 40)  # how hard each block is, for any forecaster


def blocks(errors: np.ndarray, hits: np.ndarray | None = None) -> Blocks:
    hits = np.zeros(len(errors), dtype=np.int64) if hits is None else hits
    return {
        f"block {place}": Sums(
            {"error": np.array(3.0 * error), "hits": np.array(hit), "samples": np.array(3)}
        )
        for place, (error, hit) in enumerate(zip(errors, hits, strict=True))
    }


def read(sums: Sums) -> dict[str, float | None]:
    hits = int(sums["hits"])
    return {
        "error": float(sums["error"] / sums["samples"]),
        "hit": hits / int(sums["samples"]) if hits else None,
    }


def compared(**parts: Blocks) -> list[Difference]:
    return differences({name: [part] for name, part in parts.items()}, read, COLUMNS)


def test_what_blocks_share_is_not_held_against_a_difference():
    # Far smaller than the spread between blocks, but the same in each.
    error, hit = compared(a=blocks(HARD), b=blocks(HARD + 0.01))
    assert (error.one, error.other, error.score) == ("a", "b", "error")
    assert error.value == pytest.approx(-0.01)
    assert error.low == pytest.approx(-0.01) and error.high == pytest.approx(-0.01)
    assert error.verdict == "better"
    assert error.turned().verdict == "worse" and error.turned().value == pytest.approx(0.01)
    assert hit.verdict == "undefined"


def test_unpaired_blocks_would_give_a_wider_interval():
    noise = RNG.normal(0.05, 0.2, len(HARD))
    paired, _ = compared(a=blocks(HARD + noise), b=blocks(HARD))
    shuffled, _ = compared(a=blocks(HARD + noise), b=blocks(RNG.permutation(HARD)))
    assert paired.value == pytest.approx(shuffled.value)
    assert shuffled.high - shuffled.low > 5 * (paired.high - paired.low)


@pytest.mark.parametrize("count", [LEAST_BLOCKS, 8, 40])
def test_of_a_mean_it_is_the_paired_t_test(count: int):
    # Which is why a t-test is right of few blocks: resampling alone gives them too little variance.
    ours, theirs = HARD[:count] + RNG.normal(0.1, 0.2, count), HARD[:count]
    error, _ = compared(a=blocks(ours), b=blocks(theirs))
    expected = stats.ttest_rel(ours, theirs)
    low, high = expected.confidence_interval()
    assert (error.low, error.high) == pytest.approx((low, high), abs=0.05 * (high - low))
    assert stats.norm.isf(error.p) == pytest.approx(stats.norm.isf(expected.pvalue), abs=0.2)


def test_19_of_20_intervals_hold_the_true_difference(monkeypatch):
    monkeypatch.setattr(bootstrap, "RESAMPLES", 200)
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(300):
        hard = rng.gamma(2.0, 1.0, 8)
        noise = rng.normal(0.5, 1.0, 8)
        error, _ = compared(a=blocks(hard + noise), b=blocks(hard))
        held += error.low <= 0.5 <= error.high
        assert (error.p < 0.05) == (not error.low <= 0 <= error.high)
    # Within 3 standard deviations of a binomial; the quantiles of the resamples hold it in 0.885.
    assert held / 300 == pytest.approx(0.95, abs=0.038)


def test_members_are_averaged_and_see_the_same_resamples():
    noise = RNG.normal(0, 0.3, len(HARD))
    parts = {
        "two": [blocks(HARD + 0.1 + noise), blocks(HARD + 0.3 - noise)],
        "mean": [blocks(HARD + 0.2)],
        "plain": [blocks(HARD)],
    }
    found = {(d.one, d.other): d for d in differences(parts, read, COLUMNS[:1])}
    # Noise that two members share with opposite signs cancels in each resample.
    assert found["two", "mean"].low == pytest.approx(0) == found["two", "mean"].high
    two, mean = found["two", "plain"], found["mean", "plain"]
    assert (two.value, two.low, two.high) == pytest.approx((mean.value, mean.low, mean.high))


def test_equal_in_law_is_not_distinguishable_and_more_can_be_better():
    hits = np.arange(40) % 3 + 1
    found = compared(a=blocks(HARD, hits + 1), b=blocks(RNG.permutation(HARD), hits))
    assert [each.verdict for each in found] == ["not distinguishable", "better"]


def test_the_nearer_to_one_is_not_told_by_a_sign():
    error, _ = compared(a=blocks(HARD), b=blocks(HARD + 1))
    assert replace(error, best="one").verdict == "different"


def test_every_pair_and_the_same_again():
    three = {
        "a": blocks(HARD),
        "b": blocks(HARD + RNG.normal(size=40)),
        "c": blocks(HARD + RNG.normal(0.7, 1.0, size=40)),
    }
    found = compared(**three)
    errors = [each for each in found if each.score == "error"]
    assert [(each.one, each.other) for each in errors] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert compared(**three) == found
    assert compared(a=three["a"]) == []
    first, second, third = sorted(errors, key=lambda each: each.p)
    assert first.p_holm == pytest.approx(3 * first.p)
    assert second.p_holm == pytest.approx(min(1, max(first.p_holm, 2 * second.p)))
    assert third.p_holm >= second.p_holm and {each.family for each in errors} == {3}


def test_a_few_blocks_or_rare_events_give_no_interval():
    few = HARD[: LEAST_BLOCKS - 1]
    error, _ = compared(a=blocks(few), b=blocks(few + 1))
    assert error.value == pytest.approx(-1)
    assert (error.low, error.high, error.p, error.p_holm) == (None, None, None, None)
    assert "4 of at least 5 blocks" in error.verdict
    once = np.zeros(40, dtype=np.int64)
    once[7] = 1  # a third of the resamples are without this block
    _, hit = compared(a=blocks(HARD, once), b=blocks(HARD, once))
    assert (hit.value, hit.low, hit.p, hit.family) == (0.0, None, None, 0)
    assert "too few events" in hit.verdict


def test_scored_on_other_blocks_is_not_a_pair():
    other = {f"another {name}": sums for name, sums in blocks(HARD + 1).items()}
    error, _ = compared(a=blocks(HARD), b=other)
    assert error.value == pytest.approx(-1)
    assert (error.low, error.blocks) == (None, 0)
    assert error.verdict == "no interval: not scored on the same blocks"
