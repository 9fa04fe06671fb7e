"""Rain-like fields for the scores' tests, and the libraries that they are checked against."""

import warnings
from types import ModuleType

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

Frames = tuple[Tensor, Tensor, Tensor]


def rain(
    seed: int, clips: int = 2, leads: int = 2, height: int = 40, width: int = 40, masked: float = 0
) -> Frames:
    """Prediction, truth (8-bit levels) and mask: smooth blobs over all thresholds, about half dry.

    The prediction is the truth's neighbour in a longer series, so that they resemble each other.
    """
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((2, clips, leads, 1, height, width)).astype(np.float32)
    noise[1] = 0.8 * noise[0] + 0.6 * noise[1]
    smooth = gaussian_filter(noise, (0, 0, 0, 0, 2.5, 2.5))
    pixel = np.clip(smooth / smooth.std() * 0.3 + 0.2, 0, 1)
    truth = np.rint(pixel[0] * 255) / np.float32(255)
    mask = rng.random(truth.shape) >= masked
    return torch.from_numpy(pixel[1]), torch.from_numpy(truth), torch.from_numpy(mask)


def verification_of_pysteps(name: str) -> ModuleType:
    """A module of `pysteps.verification`; skips where pysteps is not installed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of packages it could not import
        return pytest.importorskip(f"pysteps.{name}")
