"""Two ways to do one thing, timed in turns: what a noisy machine does to one it does to both."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import stats


@dataclass(frozen=True)
class Pairs:
    """Seconds of alternating calls.

    Args:
        one: of the first way.
        other: of the second, call for call beside it.
    """

    one: tuple[float, ...]
    other: tuple[float, ...]

    def ratio(self) -> tuple[float, float, float]:
        """Median of other / one over the pairs, and its 95 % interval (bootstrap)."""
        ratios = np.divide(self.other, self.one)
        found = stats.bootstrap((ratios,), np.median, method="percentile", rng=0)
        low, high = found.confidence_interval
        return float(np.median(ratios)), float(low), float(high)


def alternate(
    one: Callable[[], object],
    other: Callable[[], object],
    pairs: int,
    clock: Callable[[], float] = time.perf_counter,
) -> Pairs:
    """Call both once to warm up, then `pairs` times in turns, each first in every second pair.

    `clock` may be `time.process_time` for work that takes one thread: on a busy machine it leaves
    out the time in which others had the processor.
    """
    one(), other()
    seconds: tuple[list[float], list[float]] = ([], [])
    for pair in range(pairs):
        for which in (0, 1) if pair % 2 else (1, 0):
            began = clock()
            (one, other)[which]()
            seconds[which].append(clock() - began)
    return Pairs(tuple(seconds[0]), tuple(seconds[1]))
