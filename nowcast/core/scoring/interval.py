"""A mean and how far it can be trusted."""

import numpy as np
from numpy.typing import NDArray
from scipy import stats


def t_interval(values: NDArray[np.float64], level: float = 0.95) -> tuple[float, float, float]:
    """Mean of independent values and its interval (Student's t), at 95 %: mean, low, high."""
    mean = float(values.mean())
    half = float(stats.t.ppf((1 + level) / 2, len(values) - 1)) * float(stats.sem(values))
    return mean, mean - half, mean + half
