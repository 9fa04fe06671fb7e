"""How much each pixel counts: heavy rain is rare, so its errors weigh more.

Shi et al. 2017, Deep Learning for Precipitation Nowcasting, section 4,
doi:10.48550/arXiv.1706.03458.
"""

from functools import cache
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from nowcast.precipitation.units import THRESHOLDS_MM_H, Calibration

# Weight of a pixel whose true rain rate is below the first threshold, at or above the first, ...
BALANCING_WEIGHTS = (1.0, 1.0, 2.0, 5.0, 10.0, 30.0)


@cache
def pixel_thresholds(calibration: Calibration) -> tuple[float, ...]:
    """The thresholds of `THRESHOLDS_MM_H` as pixels in [0, 1]."""
    return tuple(calibration.pixel_from_rate(THRESHOLDS_MM_H).tolist())


def balancing_weights(
    truth: Float[Tensor, "*shape"], calibration: Calibration
) -> Float[Tensor, "*shape"]:
    """Weight of every pixel by the true rain rate there; `truth` is in pixels in [0, 1]."""
    weights = torch.full_like(truth, BALANCING_WEIGHTS[0])
    for threshold, rise in zip(pixel_thresholds(calibration), rises(), strict=True):
        if rise:
            weights += rise * (truth >= threshold)
    return weights


def rises() -> tuple[float, ...]:
    """By how much the weight grows at each threshold, from `BALANCING_WEIGHTS[0]` on."""
    return tuple(high - low for low, high in pairwise(BALANCING_WEIGHTS))
