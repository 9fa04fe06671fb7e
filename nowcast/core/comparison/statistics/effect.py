"""A forecaster against its reference in a word: better, worse, no effect, or cannot be told."""

from dataclasses import dataclass
from math import isfinite

from nowcast.core.comparison.statistics.equivalence import is_within
from nowcast.core.comparison.statistics.significance import Contrast
from nowcast.core.comparison.statistics.verdict import NOT_DISTINGUISHABLE

NO_EFFECT = "no effect"
CANNOT_BE_TOLD = "cannot be told"

Interval = tuple[float, float]


@dataclass(frozen=True)
class Effect:
    """A forecaster against its reference by one score: a row of the table of verdicts.

    Args:
        contrast: the forecaster less its reference, with the tests over seeds and over blocks.
        equivalence: `compare.equivalence`, in per cent of the reference's score; None: not set.
    """

    contrast: Contrast
    equivalence: float | None = None

    @property
    def intervals(self) -> dict[str, Interval]:
        """``seeds`` and ``blocks`` -> the 95 % interval of the difference, in the score's unit,
        where there is one."""
        seeds, blocks = self.contrast.seeds, self.contrast.blocks
        found = {"seeds": (seeds.low, seeds.high)} if seeds is not None else {}
        if blocks is not None and blocks.low is not None and blocks.high is not None:
            found["blocks"] = blocks.low, blocks.high
        return found

    @property
    def not_excluded(self) -> Interval | None:
        """Least and greatest difference within any of the intervals; None where there is none."""
        ends = [end for interval in self.intervals.values() for end in interval]
        return (min(ends), max(ends)) if ends else None

    @property
    def within_bound(self) -> bool | None:
        """Whether every test there is, over seeds and over blocks, places the difference within
        the bound; None without a bound or a test, or where a score is undefined or the
        reference's is 0."""
        score = self.contrast.other_value
        if self.equivalence is None or self.contrast.difference is None or not score:
            return None
        if not self.intervals:
            return None
        bound = self.equivalence / 100 * abs(score)
        samples = {"seeds": self.contrast.pairs}
        if self.contrast.blocks is not None:
            samples["blocks"] = self.contrast.blocks.blocks
        return all(
            is_within(*interval, samples[what], bound) for what, interval in self.intervals.items()
        )

    @property
    def verdict(self) -> str:
        """``better``, ``worse``, ``no effect`` or ``cannot be told``; ``different`` by a score that
        is best at a level, so that the sign of a difference does not tell which is better.

        A difference is told where every test there is, over seeds and over blocks, finds it after
        Holm's correction; see `verdict.RULE`. ``no effect``: it is not, and lies within the bound.
        """
        told = {self.contrast.over_seeds, self.contrast.over_blocks} - {None, NOT_DISTINGUISHABLE}
        silent = NOT_DISTINGUISHABLE in (self.contrast.over_seeds, self.contrast.over_blocks)
        if len(told) == 1 and not silent:
            return str(told.pop())
        return NO_EFFECT if self.within_bound else CANNOT_BE_TOLD

    def percent(self, difference: float | None) -> float | None:
        """A difference in per cent of the reference's score; None where that is 0 or undefined."""
        score = self.contrast.other_value
        if difference is None or not score:
            return None
        share = 100 * difference / abs(score)
        return share if isfinite(share) else None
