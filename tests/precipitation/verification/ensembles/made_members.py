"""Ensembles for the tests of their scores: rain-like members around a truth."""

import numpy as np
import torch
from torch import Tensor

from tests.rain_fields import rain

Drawn = tuple[Tensor, Tensor, Tensor]


def ensemble(seed: int, members: int = 7, clips: int = 2, masked: float = 0.2) -> Drawn:
    """Members ``batch member time 1 height width``, truth and mask: 2 leads of 20 x 24 pixels."""
    series = [
        rain(seed + member, clips=clips, height=20, width=24, masked=masked)
        for member in range(members)
    ]
    noise = torch.stack([prediction for prediction, _, _ in series], dim=1)
    _, truth, mask = series[0]
    return (0.5 * noise + 0.5 * truth[:, None] - 0.05), truth, mask


def exchangeable(seed: int, members: int, width: float = 1.0) -> Drawn:
    """Members and truth of one distribution, dry at half the pixels; members `width` as wide."""
    rng = np.random.default_rng(seed)
    centre = rng.standard_normal((1, 1, 1, 1, 120, 120))
    drawn = centre + width * rng.standard_normal((1, members, 1, 1, 120, 120))
    truth = centre[:, 0] + rng.standard_normal((1, 1, 1, 120, 120))
    pixels = (torch.from_numpy(0.1 * each).float().clamp(0, 1) for each in (drawn, truth))
    made, true = pixels
    return made, true, torch.ones_like(true, dtype=torch.bool)
