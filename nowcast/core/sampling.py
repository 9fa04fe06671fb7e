"""Which items are drawn at a step: a pure function, so a resumed run sees the same ones."""

from collections.abc import Sequence

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
