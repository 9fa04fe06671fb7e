"""Which items are drawn at a step: a pure function, so a resumed run sees the same ones."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def draws(seed: int, step: int, batch_size: int, population: Sequence[int]) -> NDArray[np.int64]:
    """Uniform draws with replacement, ``(batch_size, len(population))``; column j is in
    ``[0, population[j])``."""
    generator = np.random.default_rng((seed, step))
    return generator.integers(0, np.asarray(population), size=(batch_size, len(population)))
