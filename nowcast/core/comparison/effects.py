"""The verdict on each forecaster against its reference: a table, a CSV and forest plots."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import floor, isfinite, log10
from typing import Any

from nowcast.core.comparison.findings import of_interest
from nowcast.core.comparison.statistics.bootstrap import LEAST_BLOCKS
from nowcast.core.comparison.statistics.effect import CANNOT_BE_TOLD, NO_EFFECT, Effect, Interval
from nowcast.core.comparison.statistics.significance import LEAST_PAIRS
from nowcast.core.comparison.statistics.verdict import LEVEL
from nowcast.core.comparison.stored import Stored
from nowcast.core.report.forest import Forest, ForestRow
from nowcast.core.report.page import Section
from nowcast.core.scoring.table import DASH, STAR, Column, csv_text

MORE_DECIMALS = 4  # than the score has, at most
NO_BREAK = "\u00a0"
SIDES = {"less": ("better", "worse"), "more": ("worse", "better")}


def effects(stored: Stored) -> list[Effect]:
    """Every forecaster that has a reference, by every score, in the order of the table."""
    pairs = of_interest(stored.contrasts, stored.against)
    return [Effect(each, stored.equivalence) for own in pairs.values() for each in own]


def as_csv(found: Sequence[Effect]) -> str:
    """One line a row of the table, full precision; empty if there is none."""
    return csv_text([_line(each) for each in found])


def as_section(found: Sequence[Effect]) -> Section:
    """The table, and how to read it."""
    seeds = [each.contrast.pairs for each in found if each.contrast.seeds]
    blocks = [each.contrast.blocks.blocks for each in found if each.contrast.blocks]
    header = (
        *("Variant", "Score", "Verdict", "Difference"),
        f"95 % over {_counts(seeds)}seeds",
        f"95 % over {_counts(blocks)}blocks",
        "Excluded",
    )
    bound = next((each.equivalence for each in found), None)
    return Section("Verdicts", header, [_row(each) for each in found], _note(bound, len(found)))


def as_forests(found: Sequence[Effect]) -> list[Forest]:
    """A forest plot a score, in per cent. Rows of two that share seeds set the scale where there
    are any: a baseline, which has none, may be far off."""
    forests = []
    for column in dict.fromkeys(each.contrast.column for each in found):
        own = [each for each in found if each.contrast.column == column]
        near = [each for each in own if each.contrast.pairs] or own
        rows = [_forest_row(each, each in near) for each in own]
        sides = SIDES.get(column.best, ("lower", "higher"))
        forests.append(Forest(column.title, rows, sides, own[0].equivalence))
    return forests


def _forest_row(effect: Effect, sets_scale: bool) -> ForestRow:
    contrast = effect.contrast
    intervals = {
        what: (low, high)
        for what, ends in effect.intervals.items()
        for low, high in [map(effect.percent, ends)]
        if low is not None and high is not None
    }
    label = f"{contrast.one} against {contrast.other}"
    return ForestRow(label, effect.percent(contrast.difference), intervals, sets_scale)


def _line(effect: Effect) -> dict[str, Any]:
    contrast = effect.contrast
    line: dict[str, Any] = {
        "variant": contrast.one,
        "against": contrast.other,
        "score": contrast.column.score,
        "verdict": effect.verdict,
        "equivalence_percent": effect.equivalence,
        "within_equivalence": effect.within_bound,
        "value": contrast.one_value,
        "reference_value": contrast.other_value,
        "difference": contrast.difference,
        "difference_percent": effect.percent(contrast.difference),
    }
    counts = {"seeds": contrast.pairs, "blocks": contrast.blocks and contrast.blocks.blocks}
    for what, count in counts.items():
        low, high = effect.intervals.get(what, (None, None))
        line |= {
            what: count,
            f"{what}_low": low,
            f"{what}_high": high,
            f"{what}_low_percent": effect.percent(low),
            f"{what}_high_percent": effect.percent(high),
        }
    low, high = effect.not_excluded or (None, None)
    return line | {
        "excluded_below": low,
        "excluded_above": high,
        "excluded_below_percent": effect.percent(low),
        "excluded_above_percent": effect.percent(high),
    }


def _row(effect: Effect) -> list[str]:
    contrast, column = effect.contrast, effect.contrast.column
    difference = contrast.difference
    verdict = effect.verdict
    if effect.within_bound:
        verdict += f"\n(within ±{effect.equivalence:g} %)"
    if effect.verdict != CANNOT_BE_TOLD:
        verdict += STAR
    ends = [difference, *(end for interval in effect.intervals.values() for end in interval)]
    shown = _Shown(effect, _decimals(column.digits, ends))
    cells = [
        verdict,
        DASH if difference is None else shown.value(difference),
        *(shown.interval(effect.intervals.get(what)) for what in ("seeds", "blocks")),
        _excluded(effect, column, shown),
    ]
    unbroken = [cell.replace(" ", NO_BREAK).replace(f"{NO_BREAK}*", STAR) for cell in cells]
    return [f"{contrast.one}\nagainst {contrast.other}", _in_two(column.title), *unbroken]


def _in_two(title: str) -> str:
    """A score's title, which breaks before its unit alone."""
    name, *unit = title.rsplit(" ", 2)
    parts = [name, " ".join(unit)] if len(unit) == 2 else [title]
    return " ".join(part.replace(" ", NO_BREAK) for part in parts)


@dataclass(frozen=True)
class _Shown:
    """Differences of one row as texts: a line in the score's unit, and one in per cent."""

    effect: Effect
    digits: int

    def value(self, difference: float) -> str:
        percent = self.effect.percent(difference)
        text = f"{difference:+z.{self.digits}f}"
        return text if percent is None else f"{text}\n{percent:+z.{self._percents}f} %"

    def interval(self, ends: Interval | None) -> str:
        if ends is None:
            return DASH
        low, high = map(self.effect.percent, ends)
        text = f"{ends[0]:+z.{self.digits}f} to {ends[1]:+z.{self.digits}f}"
        if low is None or high is None:
            return text
        return f"{text}\n{low:+z.{self._percents}f} to {high:+z.{self._percents}f} %"

    def size(self, size: float) -> str:
        percent = self.effect.percent(size)
        return f"{size:.{self.digits}f}" if percent is None else f"{percent:.{self._percents}f} %"

    @property
    def _percents(self) -> int:
        ends = [end for interval in self.effect.intervals.values() for end in interval]
        percents = map(self.effect.percent, [self.effect.contrast.difference, *ends])
        return _decimals(1, percents)


def _excluded(effect: Effect, column: Column, shown: _Shown) -> str:
    """What lies outside all intervals of the row, on either side of zero."""
    if effect.not_excluded is None:
        return "nothing"
    below, above = SIDES.get(column.best, ("lower", "higher"))
    low, high = effect.not_excluded
    sides = [(below, max(0.0, -low)), (above, max(0.0, high))]
    return "\n".join(
        f"{side} by > {shown.size(size)}" if size else f"{side} at all"
        for side, size in sorted(sides)
    )


def _decimals(least: int, values: Iterable[float | None]) -> int:
    """Decimals for two digits of the largest, within reason."""
    scale = max((abs(x) for x in values if x is not None and isfinite(x)), default=0.0)
    return min(max(least, 1 - floor(log10(scale))), least + MORE_DECIMALS) if scale else least


def _counts(counts: Sequence[int]) -> str:
    least, most = min(counts, default=0), max(counts, default=0)
    if not most:
        return ""
    return f"{most} " if least == most else f"{least} to {most} "


def _note(equivalence: float | None, rows: int) -> str:
    if equivalence is None:
        no_effect = (
            f"No equivalence bound is set, so no row says {NO_EFFECT}: `compare.equivalence` of "
            "the config, in per cent."
        )
    else:
        no_effect = (
            f"{NO_EFFECT}: not so, and surely within ±{equivalence:g} % of the reference's score "
            "(`compare.equivalence`): two one-sided tests at 5 %, that is, the 90 % interval lies "
            "within, over seeds and over blocks."
        )
    return (
        "better, worse: every test of the row, over seeds and over blocks, finds a difference (p "
        f"at most {LEVEL} after Holm's correction over all pairs by that score). {no_effect} "
        f"{CANNOT_BE_TOLD}: all else. Excluded: effects outside every 95 % interval of the row. "
        f"{DASH}: no test, which needs {LEAST_PAIRS} seeds or {LEAST_BLOCKS} blocks in common. "
        f"Intervals{'' if equivalence is None else f' and {NO_EFFECT}'} are not corrected for the "
        f"number of rows ({rows}): of 20 rows without an effect, one interval is expected to miss "
        f"0, so it may where the verdict is {CANNOT_BE_TOLD}. Per cent: of the reference's mean "
        "score, taken as exact. The same in full precision: verdicts.csv."
    )
