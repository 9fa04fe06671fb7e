"""Whether variants differ by more than their seeds do: paired t-tests, score by score."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations

import numpy as np
from scipy import stats

from nowcast.core.interval import t_interval
from nowcast.core.report import Section
from nowcast.core.table import DASH, Column, Row, Table, csv_text

LEAST_PAIRS = 3  # seeds; below, a p-value says nothing
LEVEL = 0.05


@dataclass(frozen=True)
class PairedTest:
    """One variant less another over the seeds that both have.

    Args:
        score: its name.
        one: a variant.
        other: another.
        pairs: seeds in which the score is defined for both.
        difference: mean over the pairs.
        low: lower end of its 95 % interval (Student's t).
        high: its upper end.
        effect: difference in standard deviations of the pairs' differences (Cohen's d_z); None
            where all pairs differ by the same.
        p: two-sided, of a t-test that the difference is zero; None as above.
        p_holm: p corrected for the pairs of variants tested by this score (Holm 1979).
        best: whether less or more is better.
    """

    score: str
    one: str
    other: str
    pairs: int
    difference: float
    low: float
    high: float
    effect: float | None
    p: float | None
    p_holm: float | None
    best: str

    @property
    def verdict(self) -> str:
        """In words, what the corrected p-value says of `one`."""
        if self.p_holm is None:
            return f"the same{' difference' * (self.difference != 0)} in every seed"
        if self.p_holm > LEVEL:
            return "not distinguishable"
        return "better" if (self.difference < 0) == (self.best == "less") else "worse"


def paired_tests(table: Table) -> list[PairedTest]:
    """Every pair of variants that share at least `LEAST_PAIRS` seeds, by every column.

    Seeds pair: within one, variants see the same clips in the same order. Scores are never pooled:
    the correction is over the pairs of variants within a score.
    """
    found = []
    for column in table.columns:
        tests = [
            test
            for one, other in combinations(table.rows, 2)
            if (test := _test(column, one, other)) is not None
        ]
        found += _corrected(tests)
    return found


def _test(column: Column, one: Row, other: Row) -> PairedTest | None:
    seeds = [seed for seed in one.scores if seed is not None and seed in other.scores]
    pairs = [
        (a, b)
        for seed in seeds
        if (a := one.scores[seed].values.get(column.score)) is not None
        and (b := other.scores[seed].values.get(column.score)) is not None
    ]
    if len(pairs) < LEAST_PAIRS:
        return None
    differences = np.array([a - b for a, b in pairs])
    mean, low, high = t_interval(differences)
    spread = float(differences.std(ddof=1))
    same = bool(np.ptp(differences) == 0)
    p = None if same else float(stats.ttest_1samp(differences, 0.0).pvalue)
    return PairedTest(
        score=column.score,
        one=one.name,
        other=other.name,
        pairs=len(pairs),
        difference=mean,
        low=low,
        high=high,
        effect=None if same else mean / spread,
        p=p,
        p_holm=p,
        best=column.best,
    )


def _corrected(tests: Sequence[PairedTest]) -> list[PairedTest]:
    """Holm's step-down: the k-th smallest of n p-values times n - k + 1, never falling."""
    order = sorted(
        (place for place, test in enumerate(tests) if test.p is not None),
        key=lambda place: tests[place].p or 0.0,
    )
    corrected, largest = list(tests), 0.0
    for rank, place in enumerate(order):
        p = tests[place].p
        assert p is not None
        largest = max(largest, min(1.0, p * (len(order) - rank)))
        corrected[place] = replace(tests[place], p_holm=largest)
    return corrected


def as_section(table: Table, tests: Sequence[PairedTest]) -> Section | None:
    """A table of the tests; None where there was nothing to test."""
    if not tests:
        return None
    columns = {column.score: column for column in table.columns}
    rows = []
    for test in tests:
        column = columns[test.score]
        digits = column.digits
        interval = f"{test.low:+.{digits}f} to {test.high:+.{digits}f}"
        rows.append(
            [
                column.title,
                f"{test.one} - {test.other}",
                f"{test.difference:+.{digits}f} ({interval})",
                DASH if test.effect is None else f"{test.effect:+.2f}",
                DASH if test.p is None else f"{test.p:.3g}",
                DASH if test.p_holm is None else f"{test.p_holm:.3g}",
                str(test.pairs),
                test.verdict,
            ]
        )
    header = [
        "Score",
        "Variants",
        "Difference (95 %)",
        "d",
        "p",
        "p, Holm",
        "Seeds",
        "The first is",
    ]
    note = (
        "Paired t-tests over seeds: within a seed, variants see the same clips in the same order. "
        "d is the difference in standard deviations of the pairs. Holm's correction is over the "
        "pairs of variants within one score. It is the seeds that vary here, and not the weather: "
        "another test period may give another order."
    )
    return Section("Differences between variants", header, rows, note)


def as_csv(tests: Sequence[PairedTest]) -> str:
    """One line a test; empty if there is none."""
    return csv_text([asdict(test) | {"verdict": test.verdict} for test in tests])
