"""Tests over seeds against scipy and values worked by hand, apart from what blocks say."""

import numpy as np
import pytest
from scipy import stats

from nowcast.core.comparison.statistics.bootstrap import Difference
from nowcast.core.comparison.statistics.significance import contrasts
from nowcast.core.scoring.sums import Scores
from nowcast.core.scoring.table import Column, Row, Table

COLUMNS = (
    Column("error", "Error", "less", 1, perfect=0.0),
    Column("hit", "Hit", "more", 2, perfect=1.0),
)


def row(name: str, errors: list[float | None], hits: list[float] | None = None) -> Row:
    hits = hits or [0.5] * len(errors)
    return Row(
        name,
        {
            seed: Scores({"error": error, "hit": hit}, {}, "", ())
            for seed, (error, hit) in enumerate(zip(errors, hits, strict=True))
        },
    )


A = [4.0, 5.5, 5.5, 6.5]
B = [3.0, 5.0, 4.0, 6.0]
BASELINE = Row("persistence", {None: Scores({"error": 1.0, "hit": 0.1}, {}, "", ())})


def test_a_pair_is_the_later_less_the_earlier_as_scipy_has_it_and_by_hand():
    error, hit = contrasts(Table(COLUMNS, (row("a", A), row("b", B))))
    assert (error.one, error.other, error.pairs) == ("b", "a", 4)
    # differences -1, -0.5, -1.5, -0.5: mean -0.875, squares 0.6875 / 3 about it
    assert error.difference == -0.875
    assert (error.one_value, error.other_value) == (4.5, 5.375)
    assert error.seeds.effect == pytest.approx(-0.875 / np.sqrt(0.6875 / 3))
    assert error.seeds.p == pytest.approx(stats.ttest_rel(B, A).pvalue)
    interval = stats.ttest_rel(B, A).confidence_interval()
    assert (error.seeds.low, error.seeds.high) == pytest.approx((interval.low, interval.high))
    assert error.over_seeds == "better" and error.over_blocks is None
    assert (hit.seeds.p, hit.seeds.effect) == (None, None)
    assert hit.over_seeds == "not distinguishable"  # the same score in every seed


def test_seeds_pair_so_what_they_share_does_not_count():
    shared = np.array([10.0, 200.0, 3000.0])
    one, other = row("a", [*(shared + np.array([1.0, 1.1, 0.9]))]), row("b", [*shared])
    assert contrasts(Table(COLUMNS, (one, other)))[0].over_seeds == "better"
    more = row("c", [*shared], [0.9, 0.8, 0.91])
    less = row("d", [*shared], [0.5, 0.4, 0.5])
    assert contrasts(Table(COLUMNS, (more, less)))[1].over_seeds == "worse"


def test_below_three_pairs_there_is_no_test():
    two = contrasts(Table(COLUMNS, (row("a", A[:2]), row("b", B[:2]))))
    assert [(each.pairs, each.seeds) for each in two] == [(2, None), (2, None)]
    assert two[0].difference == -0.75
    holed = row("b", [3.0, None, None, 6.0])
    error, hit = contrasts(Table(COLUMNS, (row("a", A), holed)))
    assert (error.pairs, error.seeds, error.difference) == (2, None, -0.75)
    assert hit.pairs == 4 and hit.seeds is not None


def test_a_baseline_has_no_seeds_but_a_difference():
    error, _ = contrasts(Table(COLUMNS, (BASELINE, row("a", A))))
    assert (error.one, error.other, error.pairs, error.seeds) == ("a", "persistence", 0, None)
    assert error.difference == pytest.approx(5.375 - 1)
    never = row("a", [None, None, None])
    assert contrasts(Table(COLUMNS, (BASELINE, never)))[0].difference is None


def test_holm_is_within_a_score_over_the_pairs_of_variants():
    rng = np.random.default_rng(0)
    rows = tuple(
        row(name, [*(rng.normal(size=5) + shift)], [*rng.normal(size=5)])
        for name, shift in zip("abc", (0, 1, 3), strict=True)
    )
    found = contrasts(Table(COLUMNS, (BASELINE, *rows)))
    for score in ("error", "hit"):
        tests = [each.seeds for each in found if each.column.score == score and each.seeds]
        ascending = sorted(tests, key=lambda test: test.p)
        expected = [3 * ascending[0].p, 2 * ascending[1].p, ascending[2].p]
        expected = np.minimum(np.maximum.accumulate(expected), 1)
        assert [test.p_holm for test in ascending] == pytest.approx(expected)
        assert {test.family for test in tests} == {3}
    single = contrasts(Table(COLUMNS[:1], rows[:2]))[0].seeds
    assert single.p_holm == single.p and single.family == 1


def test_seeds_and_blocks_may_disagree():
    # Bootstrapped the other way round, as pairs of rows come.
    blocks = Difference("error", "a", "b", 0.875, -0.2, 1.9, 0.1, 0.1, 1, 8, "less")
    error, hit = contrasts(Table(COLUMNS, (row("a", A), row("b", B))), [blocks])
    assert (error.over_seeds, error.over_blocks) == ("better", "not distinguishable")
    assert (error.blocks.low, error.blocks.high, error.blocks.blocks) == (-1.9, 0.2, 8)
    assert hit.blocks is None


def test_where_one_is_best_a_sign_says_no_more_than_different():
    columns = (Column("error", "Bias", "one", 1, perfect=1.0),)
    (bias,) = contrasts(Table(columns, (row("a", A), row("b", B))))
    assert bias.over_seeds == "different"
