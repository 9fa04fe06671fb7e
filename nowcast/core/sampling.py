"""Which items are drawn at a step: a pure function, so a resumed run sees the same ones."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray


def step_seed(seed: int, step: int, rank: int) -> int:
    """What torch's generator starts from at a step, e.g. for dropout, on each rank another."""
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
    """Items of a step's batch where all are passed through again and again, each time shuffled
    anew: ``batch_size`` numbers below `population`.

    A batch runs on over the end of a pass, so every batch is full and no item is left out.
    """
    numbers, places = np.divmod(np.arange(step * batch_size, (step + 1) * batch_size), population)
    orders = {number: _order(seed, number, population) for number in set(numbers.tolist())}
    pairs = zip(numbers.tolist(), places.tolist(), strict=True)
    return np.array([orders[number][place] for number, place in pairs], dtype=np.int64)


@lru_cache(maxsize=2)
def _order(seed: int, number: int, population: int) -> NDArray[np.int64]:
    """In which order a pass takes the items."""
    return np.random.default_rng((seed, number, 3)).permutation(population)
