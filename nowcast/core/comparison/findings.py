"""What a comparison found: sentences and tables of the pairs of interest, and all pairs as CSV."""

from collections.abc import Mapping, Sequence
from typing import Any

from nowcast.core.comparison.references import RULE as REFERENCES
from nowcast.core.comparison.references import Reference
from nowcast.core.comparison.statistics.bootstrap import Difference
from nowcast.core.comparison.statistics.significance import LEAST_PAIRS, Contrast, SeedTest
from nowcast.core.comparison.statistics.verdict import (
    NOT_DISTINGUISHABLE,
    NOT_TESTED,
    RULE,
    p_text,
    rounded,
)
from nowcast.core.report.page import Section
from nowcast.core.scoring.table import DASH, Column, csv_text

HEADER = (
    *("Score", "Difference", "Seeds", "95 % over seeds", "d", "p over seeds"),
    *("Blocks", "95 % over blocks", "p over blocks"),
)
NOTE = (
    "All pairs are in significance.csv. Seeds: paired t-tests, since within a seed variants see "
    "the same samples in the same order; they ask whether the same settings, trained with other "
    "seeds, would differ alike on these samples. Blocks: samples that are not independent are one "
    "block, and blocks are resampled in pairs; they ask whether these trained networks would "
    "differ alike on other samples; a leaderboard asks this one alone. d is the difference in "
    "standard deviations of the pairs. Seeds and blocks are corrected apart; scores are never "
    f"pooled, and of many scores one may fall below 0.05 by chance. {RULE}"
)


def sentence(found: Contrast) -> str:
    """Of one contrast: how much, how sure over seeds and over blocks, and the verdict."""
    start = f"{found.column.header}: {found.one} "
    difference = found.difference
    if difference is None:
        return f"{start}and {found.other} cannot be compared: the score is undefined."
    facts = [_over_seeds(found), _over_blocks(found)]
    if found.other_value:
        facts.insert(0, f"{abs(100 * difference / found.other_value):.1f} %")
    size = _size(difference, found.column.digits)
    return f"{start}{size} {found.other} ({'; '.join(facts)}): {_verdict(found)}."


def as_sections(found: Sequence[Contrast], against: Mapping[str, Reference]) -> list[Section]:
    """Sentences and table of each pair of interest; the first explains how to read them all.

    Args:
        found: all pairs, the later forecaster less the earlier.
        against: forecaster -> its reference, of `references`.
    """
    sections: list[Section] = []
    for one, pair in of_interest(found, against).items():
        reference, other = against[one], against[one].name
        note = f"Scores of {one} less those of {other}. Why {other}: {reference.why}."
        sections.append(
            Section(
                f"{one} against {other}",
                HEADER,
                [_row(each) for each in pair],
                note if sections else f"{note} {REFERENCES} {NOTE}",
                [sentence(each) for each in pair],
            )
        )
    return sections


def of_interest(
    found: Sequence[Contrast], against: Mapping[str, Reference]
) -> dict[str, list[Contrast]]:
    """Forecaster -> itself less its reference, by every score."""
    pairs = {(each.one, each.other, each.column.score): each for each in found}
    pairs |= {(one.other, one.one, one.column.score): one.turned() for one in found}
    scores = dict.fromkeys(each.column.score for each in found)
    return {
        one: [pairs[key] for score in scores if (key := (one, reference.name, score)) in pairs]
        for one, reference in against.items()
    }


def as_csv(found: Sequence[Contrast]) -> str:
    """One line a pair of forecasters and score, full precision; empty if there is none."""
    return csv_text([_line(each) for each in found])


def _line(found: Contrast) -> dict[str, Any]:
    seeds, blocks = found.seeds, found.blocks
    return {
        "score": found.column.score,
        "one": found.one,
        "other": found.other,
        "one_value": found.one_value,
        "other_value": found.other_value,
        "difference": found.difference,
        "seeds": found.pairs,
        "seeds_low": seeds and seeds.low,
        "seeds_high": seeds and seeds.high,
        "effect": seeds and seeds.effect,
        "seeds_p": seeds and seeds.p,
        "seeds_p_holm": seeds and seeds.p_holm,
        "seeds_verdict": found.over_seeds,
        "blocks": blocks and blocks.blocks,
        "blocks_low": blocks and blocks.low,
        "blocks_high": blocks and blocks.high,
        "blocks_p": blocks and blocks.p,
        "blocks_p_holm": blocks and blocks.p_holm,
        "blocks_verdict": found.over_blocks,
        "in_words": sentence(found),
    }


def _row(found: Contrast) -> list[str]:
    column, seeds, blocks = found.column, found.seeds, found.blocks
    difference = found.difference
    return [
        column.title,
        DASH if difference is None else f"{difference:+.{column.digits}f}",
        str(found.pairs),
        DASH if seeds is None else _interval(column, seeds.low, seeds.high),
        DASH if seeds is None or seeds.effect is None else f"{seeds.effect:+.2f}",
        DASH if seeds is None or seeds.p_holm is None else rounded(seeds.p_holm),
        DASH if blocks is None else str(blocks.blocks),
        DASH if blocks is None else _interval(column, blocks.low, blocks.high),
        DASH if blocks is None or blocks.p_holm is None else rounded(blocks.p_holm),
    ]


def _over_seeds(found: Contrast) -> str:
    seeds, count = found.seeds, _count(found.pairs, "seed")
    if not found.pairs:
        return "no seed in common: no test"
    if seeds is None:
        return f"{count}: no test, at least {LEAST_PAIRS} are needed"
    if seeds.effect is None:
        return f"the same difference in each of {count}"
    interval = _interval(found.column, seeds.low, seeds.high)
    return f"95 % interval over {count} {interval}, {_p(seeds)}, d = {seeds.effect:.2f}"


def _over_blocks(found: Contrast) -> str:
    blocks = found.blocks
    if blocks is None:
        return "no sums by block"
    count = _count(blocks.blocks, "block")
    if blocks.low is None:
        return f"no interval over blocks: {blocks.why}"
    if blocks.p is None:
        return f"the same difference in each of {count}"
    return f"over {count} {_interval(found.column, blocks.low, blocks.high)}, {_p(blocks)}"


def _verdict(found: Contrast) -> str:
    seeds, blocks = found.over_seeds, found.over_blocks
    if seeds == blocks:
        if seeds is None:
            return NOT_TESTED
        return seeds if seeds == NOT_DISTINGUISHABLE else f"{seeds}, over seeds and over blocks"
    return f"{seeds or NOT_TESTED} over seeds, {blocks or NOT_TESTED} over blocks"


def _size(difference: float, digits: int) -> str:
    if difference == 0:
        return "equals"
    least = 10.0**-digits
    shown = f"{abs(difference):.{digits}f}"
    size = shown if float(shown) else f"less than {least:.{digits}f}"
    return f"is {size} {'lower' if difference < 0 else 'higher'} than"


def _interval(column: Column, low: float | None, high: float | None) -> str:
    return DASH if low is None else f"{low:+.{column.digits}f} to {high:+.{column.digits}f}"


def _p(test: SeedTest | Difference) -> str:
    text, bracket, uncorrected = p_text(test.p, test.p_holm).partition(" (")
    after = "" if test.family == 1 else f" after Holm over {test.family} pairs"
    return f"{text}{after}{bracket}{uncorrected}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"
