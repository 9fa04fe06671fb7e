"""How far a difference between forecasters can be trusted: the paired block bootstrap.

Blocks of a split are drawn again and again with replacement (Efron 1979; in blocks, since what is
within one is not independent: Künsch 1989, doi:10.1214/aos/1176347265), the same ones for every
forecaster. From the sums over the drawn blocks come the scores of each, and their differences.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nowcast.core.sums import Sums
from nowcast.core.table import Column

LEAST_BLOCKS = 5  # below, resampling sees too few combinations to say anything
RESAMPLES = 1000
DEFINED_SHARE = 0.95  # of the resamples in which a score must be defined for its interval


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
        blocks: that were resampled.
        best: whether less or more is better.
    """

    score: str
    one: str
    other: str
    value: float | None
    low: float | None
    high: float | None
    blocks: int
    best: str

    def turned(self) -> "Difference":
        """The score of the other less that of the one."""
        value, low, high = (None if x is None else -x for x in (self.value, self.high, self.low))
        return replace(self, one=self.other, other=self.one, value=value, low=low, high=high)

    @property
    def verdict(self) -> str:
        """In words, what the interval says of `one`."""
        if self.value is None:
            return "undefined"
        if self.low is None or self.high is None:
            if self.blocks < LEAST_BLOCKS:
                return f"no interval: {self.blocks} of at least {LEAST_BLOCKS} blocks"
            return "no interval: too few events"
        if self.low <= 0 <= self.high:
            return "not distinguishable"
        return "better" if (self.value < 0) == (self.best == "less") else "worse"


def differences(
    parts: Mapping[str, Sequence[Sums]],
    read: Callable[[Sums], Mapping[str, float | None]],
    columns: Sequence[Column],
    seed: int = 0,
) -> list[Difference]:
    """Every pair of forecasters, by every score.

    Args:
        parts: forecaster -> its sums over each block, in the same order for all.
        read: sums to scores by name.
        columns: the scores that are compared.
        seed: of the draws.
    """
    names, scores = list(parts), [column.score for column in columns]
    if len(names) < 2:
        return []
    stacks = [_stacked(blocks) for blocks in parts.values()]
    count = len(next(iter(parts.values())))

    def values(times: NDArray[np.int64]) -> NDArray[np.float64]:
        found = [read(_weighed(stack, times)) for stack in stacks]
        return np.array([[_number(each[score]) for score in scores] for each in found])

    whole = values(np.ones(count, dtype=np.int64))
    pairs = np.array(list(combinations(range(len(names)), 2)))
    low = high = np.full((len(pairs), len(scores)), np.nan)
    if count >= LEAST_BLOCKS:
        draws = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), RESAMPLES)
        drawn = np.stack([values(times) for times in draws], axis=-1)
        low, high = _interval(drawn[pairs[:, 0]] - drawn[pairs[:, 1]])
    return [
        Difference(
            column.score,
            names[one],
            names[other],
            _defined(whole[one, place] - whole[other, place]),
            _defined(low[pair, place]),
            _defined(high[pair, place]),
            count,
            column.best,
        )
        for pair, (one, other) in enumerate(pairs)
        for place, column in enumerate(columns)
    ]


def _interval(
    drawn: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The 2.5 and 97.5 % quantiles along the last axis, NaN where too little is defined."""
    defined = np.isfinite(drawn)
    enough = defined.mean(-1) >= DEFINED_SHARE
    kept = np.where(enough[..., None], drawn, 0.0)
    low, high = np.nanquantile(kept, (0.025, 0.975), axis=-1)
    return np.where(enough, low, np.nan), np.where(enough, high, np.nan)


def _stacked(blocks: Sequence[Sums]) -> dict[str, NDArray[Any]]:
    return {name: np.stack([block[name] for block in blocks]) for name in blocks[0].values}


def _weighed(stack: Mapping[str, NDArray[Any]], times: NDArray[np.int64]) -> Sums:
    """The sums over blocks, each as often as it was drawn; counts stay whole."""
    return Sums({name: np.asarray(np.tensordot(times, all_, 1)) for name, all_ in stack.items()})


def _number(value: float | None) -> float:
    return np.nan if value is None else value


def _defined(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
