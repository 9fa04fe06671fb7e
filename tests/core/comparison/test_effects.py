"""The verdict on an effect, and how it is shown: table, CSV, plot."""

import csv
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from nowcast.core.comparison.effects import as_csv, as_forests, as_section
from nowcast.core.comparison.statistics.effect import Effect
from nowcast.core.comparison.statistics.equivalence import is_within
from nowcast.core.comparison.statistics.significance import Contrast, contrasts
from nowcast.core.scoring.interval import t_interval
from nowcast.core.scoring.sums import Scores
from nowcast.core.scoring.table import Column, Row, Table
from tests.core.comparison.test_findings import BLOCKS, COLUMN, FOUND, SEEDS, SURE, SURE_BLOCKS

BETTER = replace(FOUND, seeds=SURE, blocks=SURE_BLOCKS)  # -8.1 of 579.5, that is, -1.4 %


def paired(differences: Sequence[float], column: Column = COLUMN) -> Contrast:
    """Of two variants whose seeds differ by these, the reference at 100."""
    rows = [
        Row(
            name,
            {
                seed: Scores({column.score: 100 + share * x}, {}, "", ())
                for seed, x in enumerate(differences)
            },
        )
        for name, share in (("reference", 0), ("variant", 1))
    ]
    (found,) = contrasts(Table((column,), tuple(rows)))
    return found


@pytest.mark.parametrize(
    ("differences", "bound", "verdict"),
    [
        ((-2.0, -2.1, -1.9, -2.0), None, "better"),
        ((-2.0, -2.1, -1.9, -2.0), 5.0, "better"),  # told, though it does not matter
        ((2.0, 2.1, 1.9, 2.0), None, "worse"),
        ((0.1, -0.2, 0.3, -0.1), 0.5, "no effect"),
        ((0.1, -0.2, 0.3, -0.1), 0.2, "cannot be told"),
        ((0.1, -0.2, 0.3, -0.1), None, "cannot be told"),
        ((3.0, -9.0, 12.0, -5.0), 0.5, "cannot be told"),
        ((0.0, 0.0, 0.0), 0.5, "no effect"),
        ((0.1, -0.2), 50.0, "cannot be told"),  # too few seeds for any test
    ],
)
def test_a_verdict_is_one_of_four(differences, bound, verdict: str):
    assert Effect(paired(differences), bound).verdict == verdict


def test_more_may_be_better_and_of_a_level_it_is_not_told_which():
    up = (2.0, 2.1, 1.9, 2.0)
    hits = Column("hits", "Hits", "more", 1, perfect=1.0)
    assert Effect(paired(up, hits)).verdict == "better"
    bias = Column("bias", "Bias", "one", 2, perfect=1.0)
    assert Effect(paired(up, bias)).verdict == "different"


@pytest.mark.parametrize(
    ("seeds", "blocks", "bound", "verdict"),
    [
        (SURE, SURE_BLOCKS, None, "better"),
        (SURE, None, None, "better"),
        (None, SURE_BLOCKS, None, "better"),
        (SURE, BLOCKS, None, "cannot be told"),
        (SEEDS, SURE_BLOCKS, None, "cannot be told"),
        (SEEDS, BLOCKS, 10.0, "no effect"),
        (SEEDS, BLOCKS, 5.0, "cannot be told"),  # within over blocks, not over seeds
        (None, BLOCKS, 5.0, "no effect"),
        (None, None, 10.0, "cannot be told"),
    ],
)
def test_every_test_there_is_has_to_agree(seeds, blocks, bound, verdict: str):
    assert Effect(replace(FOUND, seeds=seeds, blocks=blocks), bound).verdict == verdict


def test_nothing_is_said_of_an_undefined_score_or_of_per_cent_of_zero():
    assert Effect(replace(FOUND, one_value=None), 10.0).verdict == "cannot be told"
    of_zero = Effect(replace(FOUND, one_value=-8.1, other_value=0.0), 10.0)
    assert (of_zero.verdict, of_zero.within_bound) == ("cannot be told", None)
    assert of_zero.percent(3.0) is None


def test_within_is_what_two_one_sided_tests_say():
    rng = np.random.default_rng(0)
    said = []
    for _ in range(50):
        values = rng.normal(0.3, 1.0, size=int(rng.integers(3, 12)))
        _, low, high = t_interval(values)
        p = max(
            stats.ttest_1samp(values, -1.0, alternative="greater").pvalue,
            stats.ttest_1samp(values, 1.0, alternative="less").pvalue,
        )
        said.append(is_within(low, high, len(values), 1.0))
        assert said[-1] == (p <= 0.05)
    assert 0 < sum(said) < len(said)


def test_the_table_has_unit_and_per_cent_and_what_is_excluded():
    section = as_section([Effect(FOUND, 10.0), Effect(BETTER, 10.0)])
    rows = [[cell.replace("\u00a0", " ") for cell in row] for row in section.rows]
    assert section.header[4:6] == ("95 % over 3 seeds", "95 % over 8 blocks")
    assert rows[0] == [
        "T-MEmeL\nagainst T-Original",
        "B-MSE ↓",
        "no effect\n(within ±10 %) *",
        "-8\n-1.4 %",
        "-40 to +24\n-7.0 to +4.2 %",
        "-31 to +12\n-5.4 to +2.1 %",
        "better by > 7.0 %\nworse by > 4.2 %",
    ]
    assert rows[1][2] == "better\n(within ±10 %) *"
    assert rows[1][6] == "better by > 2.2 %\nworse at all"
    assert "±10 % of the reference's score (`compare.equivalence`)" in section.note
    assert "not corrected for the number of rows (2)" in section.note


def test_a_small_difference_has_the_digits_to_be_seen():
    row = as_section([Effect(paired((0.1, -0.2, 0.3, -0.1)))]).rows[0]
    assert [cell.replace("\u00a0", " ") for cell in row[2:]] == [
        *("cannot be told", "+0.03\n+0.03 %", "-0.33 to +0.38\n-0.33 to +0.38 %", "–"),
        "better by > 0.33 %\nworse by > 0.38 %",
    ]


def test_without_a_bound_the_note_says_how_to_set_one_and_without_a_test_nothing_is_excluded():
    section = as_section([Effect(replace(FOUND, seeds=None, blocks=None, pairs=2))])
    assert section.rows[0][2:] == [
        "cannot\u00a0be\u00a0told",
        "-8.1\n-1.4\u00a0%",
        "–",
        "–",
        "nothing",
    ]
    assert section.header[4:6] == ("95 % over seeds", "95 % over blocks")
    assert "No equivalence bound is set, so no row says no effect" in section.note


def test_the_csv_has_every_number_of_the_table():
    told, none = csv.DictReader(
        as_csv([Effect(FOUND, 10.0), Effect(replace(FOUND, seeds=None, blocks=None))]).splitlines()
    )
    assert (told["variant"], told["against"], told["score"]) == ("T-MEmeL", "T-Original", "b_mse")
    assert (told["verdict"], told["equivalence_percent"]) == ("no effect", "10.0")
    assert (told["within_equivalence"], told["seeds"], told["blocks"]) == ("True", "3", "8")
    assert float(told["difference"]) == pytest.approx(-8.1)
    assert float(told["difference_percent"]) == pytest.approx(-1.3978, abs=1e-4)
    assert (told["seeds_low"], told["blocks_high"]) == ("-40.4", "12.4")
    assert float(told["seeds_low_percent"]) == pytest.approx(-6.9715, abs=1e-4)
    assert (told["excluded_below"], told["excluded_above"]) == ("-40.4", "24.2")
    assert (none["verdict"], none["seeds_low"], none["excluded_below"]) == (
        "cannot be told",
        "",
        "",
    )
    assert as_csv([]) == ""


def test_the_plot_has_the_intervals_in_per_cent_and_a_baseline_does_not_set_its_scale():
    far = replace(FOUND, other="persistence", other_value=5795.0, pairs=0, seeds=None)
    hits = Column("hits", "Hits", "more", 1, perfect=1.0)
    plots = as_forests(
        [Effect(far, 3.0), Effect(FOUND, 3.0), Effect(paired((1.0, 2.0, 3.0), hits), 3.0)]
    )
    assert [plot.title for plot in plots] == ["B-MSE ↓", "Hits ↑"]
    assert [plot.sides for plot in plots] == [("better", "worse"), ("worse", "better")]
    plot = plots[0]
    assert [row.label for row in plot.rows] == [
        *("T-MEmeL against persistence", "T-MEmeL against T-Original")
    ]
    assert [row.sets_scale for row in plot.rows] == [False, True]
    assert plot.rows[1].value == pytest.approx(-1.3978, abs=1e-4)
    assert plot.rows[1].intervals["seeds"] == pytest.approx((-6.9715, 4.1760), abs=1e-4)
    assert plot.rows[1].intervals["blocks"] == pytest.approx((-5.4012, 2.1398), abs=1e-4)
    assert list(plot.rows[0].intervals) == ["blocks"] and plot.bound == 3.0
    low, high = plot.limits
    assert -9 < low < -6.97 and 4.17 < high < 6  # the rows that set it, not the baseline's -90 %
    (alone,) = as_forests([Effect(far)])  # baselines alone
    assert alone.rows[0].sets_scale
