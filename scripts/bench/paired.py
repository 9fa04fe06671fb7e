"""Two ways to do one thing, timed in turns: what a noisy machine does to one it does to both."""

import time
from collections.abc import Callable, Sequence
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
    seconds, _ = in_turns((one, other), pairs, clock)
    return Pairs(*seconds)


def in_turns(
    functions: Sequence[Callable[[], object]],
    rounds: int,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[list[tuple[float, ...]], list[list[object]]]:
    """Call all once to warm up, then `rounds` times in turns, backwards in every second round.

    Returns:
        of each, the seconds of its calls; and what it returned, from the warm-up on.
    """
    results = [[function()] for function in functions]
    seconds: list[list[float]] = [[] for _ in functions]
    for turn in range(rounds):
        order = range(len(functions))
        for place in order if turn % 2 else reversed(order):
            began = clock()
            results[place].append(functions[place]())
            seconds[place].append(clock() - began)
    return [tuple(times) for times in seconds], results
