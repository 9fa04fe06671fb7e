"""Charts for papers: means and 95 % intervals over seeds or blocks, skill, thresholds."""

from collections.abc import Mapping

import numpy as np
import pytest
from scipy import stats

from nowcast.core.comparison.board import Board
from nowcast.core.comparison.figures import of_blocks, of_seeds
from nowcast.core.comparison.statistics.significance import contrasts, near_best
from nowcast.core.scoring.sums import Scores, Sums
from nowcast.core.scoring.table import Column, Row, Table
from tests.core.toy import ComparedToy

COLUMNS = (
    Column("hit/0.5", "Hit ≥ 0.5 mm/h", "more", 2, perfect=1.0, limits=(0.0, 1.0)),
    Column("hit/5", "Hit ≥ 5 mm/h", "more", 2, perfect=1.0, limits=(0.0, 1.0)),
)


class Leads(ComparedToy):
    """A share of hits at two levels and two lead times."""

    columns = COLUMNS
    details = ()
    reference = "identity"

    def __init__(self) -> None:
        pass

    def read(self, sums: Sums) -> Scores:
        shares = sums["hits"] / sums["all"]
        curves = {c.score: tuple(own.tolist()) for c, own in zip(COLUMNS, shares, strict=True)}
        values = {name: sum(curve) / 2 for name, curve in curves.items()}
        return Scores(values, curves, "minutes", (5.0, 10.0), along="lead_time")

    def read_columns(self, sums: Sums) -> Mapping[str, float | None]:
        return self.read(sums).values


def board(blocks: int, **shares: float) -> Board:
    rng = np.random.default_rng(0)
    parts = {
        name: {
            str(block): Sums(
                {
                    "hits": rng.binomial(100, [[share, share / 2], [share / 3, share / 4]]),
                    "all": np.full((2, 2), 100),
                }
            )
            for block in range(blocks)
        }
        for name, share in shares.items()
    }
    return Board(Leads(), parts, {"data": "toys"})


def test_intervals_over_seeds_are_student_s():
    def scores(x: float) -> Scores:
        return Scores(
            {"hit/0.5": x, "hit/5": x / 2}, {"hit/0.5": (x, x / 2)}, "minutes", (5.0, 9.0)
        )

    rows = (
        Row("P", {s: scores(x) for s, x in enumerate((0.3, 0.4, 0.6))}),
        Row("b", {None: scores(0.2)}),
    )
    charts = of_seeds(Table(COLUMNS, rows))
    assert list(charts) == ["hit/0.5", "hit_by_threshold"]
    low, high = charts["hit/0.5"].bands["P"][5.0]
    half = stats.t.ppf(0.975, 2) * np.std([0.3, 0.4, 0.6], ddof=1) / 3**0.5
    mean = 1.3 / 3
    assert (low, high) == pytest.approx((mean - half, mean + half))
    by_level = charts["hit_by_threshold"]
    assert (by_level.title, by_level.axis) == ("Hit ↑", "threshold (mm/h)")
    assert by_level.curves["P"][0] == pytest.approx({0.5: mean, 5.0: mean / 2})
    assert np.isnan(by_level.bands["b"][0.5]).all()


def test_a_leaderboard_has_intervals_over_blocks_and_skill_against_the_reference():
    made = board(40, identity=0.4, better=0.8)
    charts = of_blocks(made)
    assert list(charts) == [
        *("hit/0.5", "skill_hit/0.5", "hit/5", "skill_hit/5"),
        "hit_by_threshold",
    ]
    chart = charts["hit/0.5"]
    assert chart.axis == "lead time (minutes)"
    shares = np.array([sums["hits"][0, 0] / 100 for sums in made.parts["better"].values()])
    assert chart.curves["better"][0][5.0] == pytest.approx(shares.mean())
    low, high = chart.bands["better"][5.0]
    # Of a mean over blocks of one size, the bootstrap gives the interval of Student's t.
    half = stats.t.ppf(0.975, 39) * shares.std(ddof=1) / 40**0.5
    assert (high - low) / 2 == pytest.approx(half, rel=0.15)
    assert list(charts["skill_hit/5"].curves) == ["better"]
    skill = charts["skill_hit/0.5"].curves["better"][0][5.0]
    reference = chart.curves["identity"][0][5.0]
    assert skill == pytest.approx(1 - (1 - shares.mean()) / (1 - reference))


def test_few_blocks_have_no_interval():
    chart = of_blocks(board(4, identity=0.4, better=0.8))["hit/0.5"]
    assert np.isnan(chart.bands["better"][5.0]).all() and chart.curves["better"][0][5.0] > 0.7


def test_near_the_best_is_who_is_not_told_apart_from_it():
    made = board(40, identity=0.4, better=0.8, alike=0.8)
    near = near_best(made.table, contrasts(made.table, made.differences))
    assert sorted(near["hit/0.5"]) == ["alike", "better"]
    few = board(4, identity=0.4, better=0.8)  # nothing is tested
    near = near_best(few.table, contrasts(few.table, few.differences))
    assert sorted(near["hit/0.5"]) == ["better", "identity"]
