"""Paired tests over seeds against scipy and values worked by hand."""

import csv

import numpy as np
import pytest
from scipy import stats

from nowcast.core.significance import as_csv, as_section, paired_tests
from nowcast.core.sums import Scores
from nowcast.core.table import Column, Row, Table

COLUMNS = (Column("error", "Error", "less", 1), Column("hit", "Hit", "more", 2))


def row(name: str, errors: list[float | None], hits: list[float] | None = None) -> Row:
    hits = hits or [0.5] * len(errors)
    return Row(
        name,
        {
            seed: Scores({"error": error, "hit": hit}, {}, "", ())
            for seed, (error, hit) in enumerate(zip(errors, hits, strict=True))
        },
    )


A = [3.0, 5.0, 4.0, 6.0]
B = [4.0, 5.5, 5.5, 6.5]


def test_a_pair_is_scipys_and_by_hand():
    error, hit = paired_tests(Table(COLUMNS, (row("a", A), row("b", B))))
    # differences -1, -0.5, -1.5, -0.5: mean -0.875, squares 0.6875 / 3 about it
    assert error.difference == -0.875
    assert error.effect == pytest.approx(-0.875 / np.sqrt(0.6875 / 3))
    assert error.p == pytest.approx(stats.ttest_rel(A, B).pvalue)
    interval = stats.ttest_rel(A, B).confidence_interval()
    assert (error.low, error.high) == pytest.approx((interval.low, interval.high))
    assert (error.pairs, error.verdict) == (4, "better")
    assert (hit.p, hit.effect, hit.verdict) == (None, None, "the same in every seed")


def test_seeds_pair_so_what_they_share_does_not_count():
    shared = np.array([10.0, 200.0, 3000.0])
    one, other = row("a", [*shared]), row("b", [*(shared + np.array([1.0, 1.1, 0.9]))])
    assert paired_tests(Table(COLUMNS, (one, other)))[0].verdict == "better"
    more = row("c", [*shared], [0.9, 0.8, 0.91])
    less = row("d", [*shared], [0.5, 0.4, 0.5])
    assert paired_tests(Table(COLUMNS, (less, more)))[1].verdict == "worse"


def test_below_three_pairs_there_is_no_test():
    assert paired_tests(Table(COLUMNS, (row("a", A[:2]), row("b", B[:2])))) == []
    baseline = Row("persistence", {None: Scores({"error": 1.0, "hit": 0.1}, {}, "", ())})
    assert paired_tests(Table(COLUMNS, (baseline, row("a", A)))) == []
    holed = row("a", [3.0, None, None, 6.0])
    tests = paired_tests(Table(COLUMNS, (holed, row("b", B))))
    assert [test.score for test in tests] == ["hit"]


def test_holm_is_within_a_score_over_the_pairs_of_variants():
    rng = np.random.default_rng(0)
    rows = tuple(
        row(name, [*(rng.normal(size=5) + shift)])
        for name, shift in zip("abc", (0, 1, 3), strict=True)
    )
    tests = paired_tests(Table(COLUMNS[:1], rows))
    ascending = sorted(tests, key=lambda test: test.p)
    expected = [3 * ascending[0].p, 2 * ascending[1].p, ascending[2].p]
    expected = np.minimum(np.maximum.accumulate(expected), 1)
    assert [test.p_holm for test in ascending] == pytest.approx(expected)
    single = paired_tests(Table(COLUMNS[:1], rows[:2]))
    assert single[0].p_holm == single[0].p


def test_what_is_shown_and_written():
    table = Table(COLUMNS, (row("a", A), row("b", B)))
    tests = paired_tests(table)
    section = as_section(table, tests)
    assert section.rows[0][:3] == ["Error ↓", "a - b", "-0.9 (-1.6 to -0.1)"]
    assert section.rows[0][-2:] == ["4", "better"]
    lines = list(csv.DictReader(as_csv(tests).splitlines()))
    assert float(lines[0]["p"]) == tests[0].p and lines[1]["p"] == ""
    assert as_section(table, []) is None and as_csv([]) == ""
