"""Whether forecasters differ: each pair by each score, over the seeds and over the blocks.

The two answer different questions and are kept apart. A paired t-test over seeds asks whether the
same settings, trained with other seeds, would differ alike on these samples. The bootstrap over
blocks asks whether these trained networks would differ alike on other samples.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from statistics import fmean

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from nowcast.core.comparison.statistics.bootstrap import Difference
from nowcast.core.comparison.statistics.holm import holm
from nowcast.core.comparison.statistics.verdict import NOT_DISTINGUISHABLE, NOT_TESTED, verdict
from nowcast.core.scoring.interval import t_interval
from nowcast.core.scoring.table import Column, Row, Table

LEAST_PAIRS = 3  # seeds; below, a p-value says nothing


@dataclass(frozen=True)
class SeedTest:
    """A paired t-test over seeds: within one, variants see the same samples in the same order.

    Args:
        low: lower end of the 95 % interval of the mean difference (Student's t).
        high: its upper end.
        effect: difference in standard deviations of the pairs' differences (Cohen's d_z); None
            where all pairs differ by the same.
        p: two-sided, that the difference is zero; None as above.
        p_holm: p corrected for the pairs of variants tested by this score.
        family: how many pairs that are.
    """

    low: float
    high: float
    effect: float | None
    p: float | None
    p_holm: float | None = None
    family: int = 0


@dataclass(frozen=True)
class Contrast:
    """One forecaster less another by one score.

    Args:
        column: the score.
        one: a forecaster.
        other: another.
        one_value: mean over the seeds that both have, or over its own if they share none.
        other_value: of the other.
        pairs: seeds in which the score is defined for both.
        seeds: the test over them; None where there are fewer than `LEAST_PAIRS`.
        blocks: the bootstrap over blocks; None where no sums were kept.
    """

    column: Column
    one: str
    other: str
    one_value: float | None
    other_value: float | None
    pairs: int
    seeds: SeedTest | None
    blocks: Difference | None

    def turned(self) -> "Contrast":
        """The other less the one."""
        seeds = self.seeds
        if seeds is not None:
            effect = None if seeds.effect is None else -seeds.effect
            seeds = replace(seeds, low=-seeds.high, high=-seeds.low, effect=effect)
        return replace(
            self,
            one=self.other,
            other=self.one,
            one_value=self.other_value,
            other_value=self.one_value,
            seeds=seeds,
            blocks=None if self.blocks is None else self.blocks.turned(),
        )

    @property
    def difference(self) -> float | None:
        """None where the score of one of them is undefined."""
        if self.one_value is None or self.other_value is None:
            return None
        return self.one_value - self.other_value

    @property
    def over_seeds(self) -> str | None:
        """What the corrected p-value over seeds says of `one`; None without a test."""
        return None if self.seeds is None else self._verdict(self.seeds.p_holm)

    @property
    def over_blocks(self) -> str | None:
        """What the corrected p-value over blocks says of `one`; None without a test."""
        if self.blocks is None or self.blocks.low is None:
            return None
        return self._verdict(self.blocks.p_holm)

    def _verdict(self, p_holm: float | None) -> str | None:
        if self.difference is None:
            return None
        found = verdict(self.column.best, self.difference, p_holm)
        return None if found == NOT_TESTED else found


def contrasts(table: Table, found: Sequence[Difference] = ()) -> list[Contrast]:
    """Every pair of rows, the later less the earlier, by every column.

    Scores are never pooled: Holm's correction is over the pairs within one score.

    Args:
        table: the scores of each forecaster and seed.
        found: of `bootstrap.differences`, on the same forecasters.
    """
    blocks = {
        (each.score, each.one, each.other): each
        for difference in found
        for each in (difference, difference.turned())
    }
    return [
        contrast
        for column in table.columns
        for contrast in _corrected(
            [
                _contrast(column, one, other, blocks.get((column.score, one.name, other.name)))
                for other, one in combinations(table.rows, 2)
            ]
        )
    ]


def near_best(table: Table, pairs: Sequence[Contrast]) -> dict[str, list[str]]:
    """Score -> the forecasters with the best mean, and those not told apart from it.

    Two are told apart where they are tested, over seeds or over blocks, and every test that there
    is says so; see `verdict.RULE`.

    Args:
        table: the scores.
        pairs: of `contrasts`, of the same table.
    """
    apart = {
        (pair.column.score, frozenset((pair.one, pair.other)))
        for pair in pairs
        for verdicts in [{pair.over_seeds, pair.over_blocks} - {None}]
        if verdicts and NOT_DISTINGUISHABLE not in verdicts
    }
    near = {}
    for column in table.columns:
        means = {
            row.name: mean for row in table.rows if (mean := row.mean(column.score)) is not None
        }
        leader = min(means, key=lambda name: column.cost(means[name])) if means else None
        near[column.score] = [
            name for name in means if (column.score, frozenset((name, leader))) not in apart
        ]
    return near


def _contrast(column: Column, one: Row, other: Row, blocks: Difference | None) -> Contrast:
    shared = [
        (a, b)
        for seed, scores in one.scores.items()
        if seed is not None
        and seed in other.scores
        and (a := scores.values.get(column.score)) is not None
        and (b := other.scores[seed].values.get(column.score)) is not None
    ]
    ours, theirs = zip(*shared, strict=True) if shared else _alone(column, one, other)
    return Contrast(
        column,
        one.name,
        other.name,
        fmean(ours) if ours else None,
        fmean(theirs) if theirs else None,
        len(shared),
        _tested(np.subtract(ours, theirs)) if len(shared) >= LEAST_PAIRS else None,
        blocks,
    )


def _alone(column: Column, *rows: Row) -> list[list[float]]:
    return [row.samples(column.score) for row in rows]


def _tested(differences: NDArray[np.float64]) -> SeedTest:
    mean, low, high = t_interval(differences)
    if np.ptp(differences) == 0:
        return SeedTest(low, high, None, None)
    effect = mean / float(differences.std(ddof=1))
    return SeedTest(low, high, effect, float(stats.ttest_1samp(differences, 0.0).pvalue))


def _corrected(pairs: Sequence[Contrast]) -> list[Contrast]:
    p = [None if pair.seeds is None else pair.seeds.p for pair in pairs]
    family = len(p) - p.count(None)
    return [
        pair
        if pair.seeds is None
        else replace(pair, seeds=replace(pair.seeds, p_holm=corrected, family=family))
        for pair, corrected in zip(pairs, holm(p), strict=True)
    ]
