"""Pixels of any Z-R relation on the scale of HKO-7's, where a pixel is one rain rate, and back."""

from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor

from nowcast.precipitation.units import Calibration

KNEE_MM_H = 0.1  # below, where radars tell little, the scale runs straight to dry


def to_hko7(pixels: Float[Tensor, "*shape"], calibration: Calibration) -> Float[Tensor, "*shape"]:
    """Pixels of a Z-R relation as pixels of HKO-7's that mean the same rain rate.

    Both are linear in the logarithm of the rate, so the map is a line above `KNEE_MM_H`, and a
    steeper or flatter one through zero below.
    """
    return _mapped(pixels, *_lines(calibration))


def from_hko7(pixels: Float[Tensor, "*shape"], calibration: Calibration) -> Float[Tensor, "*shape"]:
    """The inverse of `to_hko7`."""
    knee, image, slope = _lines(calibration)
    return _mapped(pixels, image, knee, 1 / slope)


def _mapped(pixels: Tensor, knee: float, image: float, slope: float) -> Tensor:
    if (knee, slope) == (image, 1.0):
        return pixels
    return torch.where(pixels < knee, pixels * (image / knee), image + slope * (pixels - knee))


@cache
def _lines(calibration: Calibration) -> tuple[float, float, float]:
    """Pixel at the knee, pixel of HKO-7's there, and the slope above it."""
    hko7 = Calibration()
    knee = float(calibration.pixel_from_rate(KNEE_MM_H))
    return knee, float(hko7.pixel_from_rate(KNEE_MM_H)), hko7.zr_b / calibration.zr_b
