"""How far a difference between forecasters can be trusted: the paired block bootstrap.

Blocks of a split are drawn again and again with replacement (Efron 1979; in blocks, since what is
within one is not independent: Künsch 1989, doi:10.1214/aos/1176347265), the same ones for every
forecaster. From the sums over the drawn blocks come the scores of each, and their differences. How
much these vary is the standard error, and Student's t with one degree of freedom less than there
are blocks makes interval and p-value of it: of few blocks, quantiles of the resamples would be far
too narrow (Hesterberg 2015, doi:10.1080/00031305.2015.1089789).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from nowcast.core.comparison.statistics.holm import holm
from nowcast.core.comparison.statistics.verdict import verdict
from nowcast.core.scoring.sums import Sums
from nowcast.core.scoring.table import Column

LEAST_BLOCKS = 5  # below, resampling sees too few combinations to say anything
RESAMPLES = 1000
DEFINED_SHARE = 0.95  # of the resamples in which a score must be defined for its interval

Blocks = Mapping[str, Sums]
Read = Callable[[Sums], Mapping[str, float | None]]


@dataclass(frozen=True)
class Difference:
    """The score of one forecaster less that of another.

    Args:
        score: its name.
        one: a forecaster.
        other: another.
        value: None where the score of one of them is undefined.
        low: lower end of the 95 % interval; None with too few blocks, or where resamples without
            an event leave the score undefined.
        high: its upper end.
        p: two-sided, that the difference is zero; None as above, or where nothing varies.
        p_holm: p corrected for the pairs of forecasters compared by this score.
        family: how many pairs that are.
        blocks: that were resampled; 0 if the two were not scored on the same ones.
        best: whether less or more is better.
    """

    score: str
    one: str
    other: str
    value: float | None
    low: float | None
    high: float | None
    p: float | None
    p_holm: float | None
    family: int
    blocks: int
    best: str

    def turned(self) -> "Difference":
        """The score of the other less that of the one."""
        value, low, high = (None if x is None else -x for x in (self.value, self.high, self.low))
        return replace(self, one=self.other, other=self.one, value=value, low=low, high=high)

    @property
    def verdict(self) -> str:
        """In words, what it says of `one`, after the correction; see `verdict.RULE`."""
        if self.value is None:
            return "undefined"
        if self.low is None or self.high is None:
            return f"no interval: {self.why}"
        return verdict(self.best, self.value, self.p_holm)

    @property
    def why(self) -> str:
        """The reason where there is no interval."""
        if not self.blocks:
            return "not scored on the same blocks"
        if self.blocks < LEAST_BLOCKS:
            return f"{self.blocks} of at least {LEAST_BLOCKS} blocks"
        return "too few events"


def differences(
    parts: Mapping[str, Sequence[Blocks]],
    read: Read,
    columns: Sequence[Column],
    seed: int = 0,
) -> list[Difference]:
    """Every pair of forecasters, by every score.

    The score of a forecaster is the mean over its members, e.g. one network a seed. All members
    see the same resamples, so what varies here is the blocks, and never the seeds.

    Args:
        parts: forecaster -> members -> block -> its sums.
        read: sums to scores by name.
        columns: the scores that are compared.
        seed: of the draws.
    """
    if len(parts) < 2:
        return []
    scores = [column.score for column in columns]
    blocks = {name: list(members[0]) for name, members in parts.items()}
    drawn = {name: _resampled(members, read, scores, seed) for name, members in parts.items()}
    pairs: list[list[Difference]] = []
    for one, other in combinations(parts, 2):
        paired = blocks[one] == blocks[other]
        whole = drawn[one][0] - drawn[other][0]
        again = drawn[one][1:] - drawn[other][1:] if paired else np.empty((0, len(scores)))
        count = len(blocks[one]) if paired else 0
        pairs.append(
            [
                _difference(column, one, other, float(whole[position]), again[:, position], count)
                for position, column in enumerate(columns)
            ]
        )
    by_score = [corrected(own) for own in zip(*pairs, strict=True)]
    return [each for pair in zip(*by_score, strict=True) for each in pair]


def _resampled(
    members: Sequence[Blocks], read: Read, scores: Sequence[str], seed: int
) -> NDArray[np.float64]:
    """Scores ``1 + resamples, score`` in the mean over members; first those of all blocks once.

    The draws depend on the number of blocks alone: they are the same for whoever has the same.
    """
    drawn = []
    for member in members:
        assert list(member) == list(members[0]), "members are scored on the same blocks"
        rows = map(read, resampled_sums(member, RESAMPLES, seed))
        drawn.append([[_number(values[score]) for score in scores] for values in rows])
    mean: NDArray[np.float64] = np.array(drawn, dtype=np.float64).mean(0)
    return mean


def resampled_sums(blocks: Blocks, resamples: int, seed: int = 0) -> Iterator[Sums]:
    """The sums over all blocks once, then over each resample; too few blocks have none."""
    count = len(blocks)
    times = np.ones((1, count), dtype=np.int64)
    if count >= LEAST_BLOCKS:
        rng = np.random.default_rng(seed)
        draws = rng.multinomial(count, np.full(count, 1 / count), resamples)
        times = np.concatenate([times, draws])
    weighed = _weighed(list(blocks.values()), times)
    for row in range(len(times)):
        yield Sums({name: sums[row, ...] for name, sums in weighed.items()})


def _weighed(blocks: Sequence[Sums], times: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    """By resample, the sums over blocks, each as often as it was drawn; counts stay whole."""
    often = times.astype(
        float
    )  # float64 is exact up to 2^53 pixels, and whole numbers have no BLAS
    weighed = {}
    for name, value in blocks[0].values.items():
        stacked = np.stack([block[name] for block in blocks]).astype(float)
        weighed[name] = np.tensordot(often, stacked, 1).astype(value.dtype)
    return weighed


def _difference(
    column: Column, one: str, other: str, value: float, drawn: NDArray[np.float64], blocks: int
) -> Difference:
    """With interval and p-value where enough of the resamples are defined."""
    drawn = drawn[np.isfinite(drawn)]
    low = high = p = None
    if np.isfinite(value) and len(drawn) >= DEFINED_SHARE * RESAMPLES:
        error, half = _spread(drawn, blocks)
        low, high = value - half, value + half
        if error:
            p = 2 * float(stats.t.sf(abs(value) / error, blocks - 1))
    defined = value if np.isfinite(value) else None
    return Difference(column.score, one, other, defined, low, high, p, p, 0, blocks, column.best)


def interval(drawn: NDArray[np.float64], blocks: int) -> tuple[float, float, float]:
    """A score and its 95 % interval: value, low, high; NaN where undefined.

    Args:
        drawn: the score of all blocks once, then of each resample.
        blocks: how many blocks there are; too few have no interval.
    """
    value, resamples = float(drawn[0]), drawn[1:]
    defined = resamples[np.isfinite(resamples)]
    if blocks < LEAST_BLOCKS or len(defined) < DEFINED_SHARE * len(resamples):
        return value, np.nan, np.nan
    _, half = _spread(defined, blocks)
    return value, value - half, value + half


def _spread(drawn: NDArray[np.float64], blocks: int) -> tuple[float, float]:
    """Standard error and half the 95 % interval."""
    # Resampling n blocks sees n - 1 over n of their variance.
    error = float(drawn.std()) * (blocks / (blocks - 1)) ** 0.5
    return error, float(stats.t.ppf(0.975, blocks - 1)) * error


def corrected(pairs: Sequence[Difference]) -> list[Difference]:
    """The same pairs, all by one score, with p corrected after Holm over those that have one."""
    p = [each.p for each in pairs]
    family = len(p) - p.count(None)
    return [
        replace(each, p_holm=p_holm, family=family)
        for each, p_holm in zip(pairs, holm(p), strict=True)
    ]


def _number(value: float | None) -> float:
    return np.nan if value is None else value
