"""Pixel, reflectivity and rain rate: every radar constant, with its unit and source.

A pixel is reflectivity on a fixed scale; only the step to a rain rate depends on the radar's
Z-R relation, which an archive carries with it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Numbers = float | Sequence[float] | NDArray[Any]

DBZ_AT_PIXEL_0 = -10.0  # dBZ; HKO-7: pixel = (dBZ + 10) / 70
DBZ_SPAN = 70.0  # dBZ from pixel 0 to pixel 1
PIXEL_LEVELS = 255  # a pixel in [0, 1] times this is what the 8-bit PNG holds

HKO7_ZR_A = 58.53  # Z = a R^b, Z in mm^6 m^-3, R in mm/h; Shi et al. 2017, section 4
HKO7_ZR_B = 1.56
DWD_ZR_A = 256.0  # DWD RADOLAN's standard relation
DWD_ZR_B = 1.42

THRESHOLDS_MM_H = (0.5, 2.0, 5.0, 10.0, 30.0)  # HKO-7 benchmark, Shi et al. 2017, table 2

# Names of those thresholds in tables, JSON and tensorboard: "0.5", "2", "5", "10", "30".
THRESHOLD_NAMES = tuple(f"{threshold:g}" for threshold in THRESHOLDS_MM_H)


@dataclass(frozen=True)
class Calibration:
    """A radar's Z-R relation ``Z = zr_a * R ** zr_b`` on the fixed pixel scale.

    Args:
        zr_a: Z in mm^6 m^-3 at 1 mm/h.
        zr_b: exponent.

    Raises:
        ValueError: a coefficient is not positive or not finite.
    """

    zr_a: float = HKO7_ZR_A
    zr_b: float = HKO7_ZR_B

    def __post_init__(self) -> None:
        if not (0 < self.zr_a < np.inf and 0 < self.zr_b < np.inf):
            raise ValueError(
                f"a Z-R relation needs finite and positive a and b, found {self.zr_a:g} and "
                f"{self.zr_b:g}"
            )

    def dbz_from_rate(self, rate_mm_h: Numbers) -> NDArray[np.float64]:
        """Reflectivity in dBZ of a rain rate in mm/h; -inf where it is 0, NaN stays NaN."""
        rate = np.asarray(rate_mm_h, dtype=np.float64)
        # Most of a frame is dry, and logarithms are what takes time.
        logarithm = np.log10(rate, where=rate != 0, out=np.full(rate.shape, -np.inf))
        return np.asarray(10 * np.log10(self.zr_a) + 10 * self.zr_b * logarithm)

    def rate_from_dbz(self, dbz: Numbers) -> NDArray[np.float64]:
        """Rain rate in mm/h of a reflectivity in dBZ."""
        decibels = np.asarray(dbz, dtype=np.float64)
        return np.asarray(10 ** ((decibels - 10 * np.log10(self.zr_a)) / (10 * self.zr_b)))

    def pixel_from_rate(self, rate_mm_h: Numbers) -> NDArray[np.float64]:
        """Pixel in [0, 1] of a rain rate in mm/h; dry is 0, above 60 dBZ is 1."""
        return pixel_from_dbz(self.dbz_from_rate(rate_mm_h))

    def rate_from_pixel(self, pixel: Numbers) -> NDArray[np.float64]:
        """Rain rate in mm/h of a pixel in [0, 1]; pixel 0 is dry, 0 mm/h."""
        values = np.asarray(pixel, dtype=np.float64)
        return np.asarray(np.where(values > 0, self.rate_from_dbz(dbz_from_pixel(values)), 0.0))

    def rate_by_level(self) -> NDArray[np.float64]:
        """Rain rate in mm/h of each 8-bit level, 0 to `PIXEL_LEVELS`: a table to look levels up."""
        return self.rate_from_pixel(np.arange(PIXEL_LEVELS + 1) / PIXEL_LEVELS)


def pixel_from_dbz(dbz: Numbers) -> NDArray[np.float64]:
    """Pixel in [0, 1] of a reflectivity in dBZ, clipped at both ends of the scale."""
    decibels = np.asarray(dbz, dtype=np.float64)
    return np.asarray(np.clip((decibels - DBZ_AT_PIXEL_0) / DBZ_SPAN, 0.0, 1.0))


def dbz_from_pixel(pixel: Numbers) -> NDArray[np.float64]:
    """Reflectivity in dBZ of a pixel in [0, 1]."""
    return np.asarray(np.asarray(pixel, dtype=np.float64) * DBZ_SPAN + DBZ_AT_PIXEL_0)


def encode(pixel: NDArray[Any]) -> NDArray[np.uint8]:
    """8-bit levels of pixels in [0, 1], rounded to the nearest (half up).

    Raises:
        ValueError: a value is outside [0, 1] or NaN: missing data is a mask, never a level.
    """
    if not bool(np.all((pixel >= 0) & (pixel <= 1))):
        raise ValueError(
            "pixels to encode must lie in [0, 1]; found others (NaN is not a pixel: state missing "
            "data in the mask)"
        )
    return np.floor(PIXEL_LEVELS * pixel + 0.5).astype(np.uint8)
