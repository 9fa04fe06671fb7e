"""Which items are drawn at a step: a pure function, so a resumed run sees the same ones."""

from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from nowcast.core.system.distributed import Ranks

HELD_OUT_SEED = 0  # whatever the run's seed: runs are compared on the same samples


def step_seed(seed: int, step: int, rank: int) -> int:
    """The seed of torch's generator at a step, e.g. for dropout; different on each rank."""
    state = np.random.SeedSequence((seed, step, rank)).generate_state(1, np.uint64)
    return int(state[0] >> 1)  # torch takes 64 bits with a sign


def draws(
    seed: int, step: int, batch_size: int, population: Sequence[int], stream: int = 0
) -> NDArray[np.int64]:
    """Uniform draws with replacement, ``(batch_size, len(population))``; column j is in
    ``[0, population[j])``. Each `stream` of a step is independent of the others."""
    generator = np.random.default_rng((seed, step, stream) if stream else (seed, step))
    return generator.integers(0, np.asarray(population), size=(batch_size, len(population)))


def weighted_draws(
    seed: int, step: int, batch_size: int, probabilities: NDArray[np.float64], stream: int = 2
) -> NDArray[np.int64]:
    """Draws with replacement of ``len(probabilities)`` items, with these probabilities."""
    generator = np.random.default_rng((seed, step, stream))
    return generator.choice(len(probabilities), size=batch_size, p=probabilities)


def passes(seed: int, step: int, batch_size: int, population: int) -> NDArray[np.int64]:
    """Items of a step's batch, ``(batch_size,)``, in passes over all items, each newly shuffled.

    A batch may reach into the next pass: every batch is full and no item is left out.
    """
    numbers, positions = np.divmod(
        np.arange(step * batch_size, (step + 1) * batch_size), population
    )
    orders = {number: _order(seed, number, population) for number in set(numbers.tolist())}
    pairs = zip(numbers.tolist(), positions.tolist(), strict=True)
    return np.array([orders[number][position] for number, position in pairs], dtype=np.int64)


@lru_cache(maxsize=2)
def _order(seed: int, number: int, population: int) -> NDArray[np.int64]:
    """The order of the items in a pass."""
    return np.random.default_rng((seed, number, 3)).permutation(population)


def evaluation_plan(count: int, batch_size: int, ranks: Ranks) -> Iterator[NDArray[np.int64]]:
    """Batches of a rank's share of all items, each item once and in order."""
    mine = np.array_split(np.arange(count), ranks.size)[ranks.rank]
    for first in range(0, len(mine), batch_size):
        yield mine[first : first + batch_size]


def held_out(share: float, count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The items to train on and the held-out share of them, both sorted."""
    shuffled = np.random.default_rng(HELD_OUT_SEED).permutation(count)
    size = round(share * count)
    return np.sort(shuffled[size:]), np.sort(shuffled[:size])
