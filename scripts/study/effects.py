"""Effects of the methods, with intervals, tests and verdicts.

An effect is the mean over seeds of the difference of logarithms from the reference, in per cent;
below 0 is better, or less monosemantic. Those that docs/study.md names are of cells whose table has
all seeds.
"""

import csv
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from scipy import stats

from nowcast.core.comparison.statistics.holm import holm
from nowcast.core.scoring.interval import t_interval
from scripts.study import outcomes
from scripts.study.design import CELLS, METHODS, PRIMARY, REFERENCE, Cell
from scripts.study.outcomes import HOME, BySeed, Outcome, Row

BOUND = 0.5  # per cent: an effect that is smaller is none
LEVEL = 0.05
TEST_ONLY = ("H1", "H4")  # the bound has no meaning for these
FIRST_SEEDS, LEAST_SEEDS, MOST_SEEDS = 5, 10, 20  # of the primary cell
STAGES = ("P", "T")
SHAM_OF = {"MEmeL": "sham", "share": "sham-share", "penalty": "sham-share"}
WIDTHS = [cell for cell in CELLS if cell.steps == PRIMARY.steps]
LENGTHS = [cell for cell in CELLS if cell.width == PRIMARY.width]


@dataclass(frozen=True)
class Effect:
    """One line of the results.

    Args:
        hypothesis: H1 to H5 of docs/study.md.
        cell: its name, or ``width`` or ``length`` of a slope.
        stage: P, pretraining, or T, fine-tuning after it.
        method: what was compared.
        against: with what.
        outcome: of what: ``home``, ``abroad``, ``abroad - home`` or ``top_phi``.
        seeds: pairs.
        mean: per cent; of a slope, per doubling.
        low: lower end of the 95 % interval (Student's t over seeds).
        high: upper end.
        low90: lower end of the 90 % interval, of the two one-sided tests at 5 %.
        high90: upper end.
        p: two-sided, of no difference.
        p_holm: p corrected over the family: the lines of one hypothesis, stage and outcome.
        verdict: see `verdict`.
    """

    hypothesis: str
    cell: str
    stage: str
    method: str
    against: str
    outcome: str
    seeds: int
    mean: float
    low: float
    high: float
    low90: float
    high90: float
    p: float
    p_holm: float = math.nan
    verdict: str = ""


def effect(
    values: Sequence[float],
    hypothesis: str,
    cell: str,
    stage: str,
    method: str,
    against: str,
    outcome: str,
) -> Effect:
    """Mean, intervals and test of one difference a seed, per cent; the rest as `Effect` has it."""
    seen = np.asarray(values)
    mean, low, high = t_interval(seen)
    _, low90, high90 = t_interval(seen, 0.9)
    return Effect(
        hypothesis,
        cell,
        stage,
        method,
        against,
        outcome,
        seeds=len(seen),
        mean=mean,
        low=low,
        high=high,
        low90=low90,
        high90=high90,
        p=float(stats.ttest_1samp(seen, 0.0).pvalue),
    )


def verdict(found: Effect) -> str:
    """In words; the corrected test comes first, then equivalence."""
    small = found.low90 > -BOUND and found.high90 < BOUND and found.hypothesis not in TEST_ONLY
    if found.p_holm < LEVEL:
        way = "lower" if found.mean < 0 else "higher"
        return f"{way}, by less than {BOUND:g} %" if small else way
    return f"no effect (within {BOUND:g} %)" if small else "cannot be told"


def judged(family: Sequence[Effect]) -> list[Effect]:
    """Effects of one family, with corrected p and verdict."""
    corrected = holm([each.p for each in family])
    with_p = [
        replace(each, p_holm=math.nan if p is None else p)
        for each, p in zip(family, corrected, strict=True)
    ]
    return [replace(each, verdict=verdict(each)) for each in with_p]


def paired(one: BySeed, other: BySeed) -> list[float]:
    """100 times the difference of each seed that both have."""
    return [100 * (one[seed] - other[seed]) for seed in one if seed in other]


def seeds_needed(values: Outcome) -> int:
    """How many the primary cell has, by the spread of its first five; see docs/study.md.

    Args:
        values: the error at home of those.
    """
    reference = values[f"P-{REFERENCE}"]
    spread = max(
        float(np.std(paired(values[f"P-{method}"], reference)[:FIRST_SEEDS], ddof=1))
        for method in METHODS
    )
    for count in range(LEAST_SEEDS, MOST_SEEDS):
        if float(stats.t.ppf(1 - LEVEL, count - 1)) * spread / math.sqrt(count) <= BOUND / 2:
            return count
    return MOST_SEEDS


def against_original(
    hypothesis: str, cell: str, stage: str, outcome: str, values: Outcome
) -> list[Effect]:
    """A family: every method of a stage against the network without it."""
    reference = values[f"{stage}-{REFERENCE}"]
    return judged(
        [
            effect(
                paired(values[f"{stage}-{method}"], reference),
                hypothesis,
                cell,
                stage,
                method,
                REFERENCE,
                outcome,
            )
            for method in METHODS
            if f"{stage}-{method}" in values
        ]
    )


def shams(cell: str, values: Outcome) -> list[Effect]:
    """H5: the controls against nothing, and the methods against the controls of their size."""
    alone = [name for name in ("sham", "sham-share", "opposite") if f"P-{name}" in values]
    pairs = [(name, REFERENCE) for name in alone]
    pairs += [(method, sham) for method, sham in SHAM_OF.items() if f"P-{sham}" in values]
    return judged(
        [
            effect(
                paired(values[f"P-{method}"], values[f"P-{other}"]),
                "H5",
                cell,
                "P",
                method,
                other,
                "home",
            )
            for method, other in pairs
        ]
    )


def slopes(along: str, cells: Sequence[Cell], errors: Sequence[Outcome]) -> list[Effect]:
    """H4: by how much an effect changes per doubling of the width, or of the steps."""
    sizes = [cell.width if along == "width" else cell.steps for cell in cells]
    found = []
    for method in METHODS:
        differences = [
            {
                seed: 100 * (values[f"P-{method}"][seed] - values[f"P-{REFERENCE}"][seed])
                for seed in values[f"P-{method}"]
            }
            for values in errors
        ]
        seeds = set.intersection(*(set(of) for of in differences))
        fitted = [
            float(np.polyfit(np.log2(sizes), [of[seed] for of in differences], 1)[0])
            for seed in sorted(seeds)
        ]
        found.append(effect(fitted, "H4", along, "P", method, REFERENCE, "home"))
    return judged(found)


def finished(results: Path, seeds: int | None = None) -> dict[Cell, list[Row]]:
    """The tables of the cells that have all their seeds, or so many."""
    tables = {cell: outcomes.read(results / cell.file) for cell in CELLS}
    return {
        cell: rows
        for cell, rows in tables.items()
        if len({row.seed for row in rows}) >= (seeds or cell.seeds)
    }


def effects(results: Path, seeds: int | None = None) -> Iterator[Effect]:
    """All effects of the cells that are finished.

    Args:
        results: folder of tables.
        seeds: how many make a cell finished; None: as many as it has.
    """
    tables = finished(results, seeds)
    errors = {cell: outcomes.of_column(rows, HOME) for cell, rows in tables.items()}
    for cell, at_home in errors.items():
        away = outcomes.away(tables[cell])
        apart = outcomes.of_column(tables[cell], "top_phi")
        yield from against_original("H1", cell.name, "P", "top_phi", apart)
        yield from shams(cell.name, at_home)
        for stage in STAGES:
            yield from against_original("H2", cell.name, stage, "home", at_home)
            yield from against_original("H3", cell.name, stage, "abroad", away)
            further = outcomes.less(away, at_home)
            yield from against_original("H3", cell.name, stage, "abroad - home", further)
    for along, cells in (("width", WIDTHS), ("length", LENGTHS)):
        if set(cells) <= errors.keys():
            yield from slopes(along, cells, [errors[cell] for cell in cells])


def as_csv(found: Sequence[Effect]) -> str:
    """A line each."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(asdict(found[0])))
    writer.writeheader()
    for each in found:
        writer.writerow(
            {
                key: f"{value:.4g}" if isinstance(value, float) else value
                for key, value in asdict(each).items()
            }
        )
    return text.getvalue()
