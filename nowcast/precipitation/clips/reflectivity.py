"""Levels as a radar measures them: what changes with the radar is stated in dBZ of its own scale.

Levels of a mixture are of one Z-R relation, HKO-7's in the configs that ship, in which the same
rain has some 5 dBZ less than in the relation of most radars.
"""

from functools import cached_property

import numpy as np
from jaxtyping import Float, UInt8
from numpy.typing import NDArray

from nowcast.precipitation.units import DBZ_SPAN, PIXEL_LEVELS, Calibration, encode

USUAL = Calibration(200.0, 1.6)  # Marshall and Palmer 1948, 10.1175/1520-0469(1948)005<0165:TDORWS>
FAINTEST_MM_H = 0.05  # what is weakened below it is dry


class Reflectivity:
    """Between 8-bit levels and the reflectivity of the same rain in the usual Z-R relation.

    Args:
        calibration: the Z-R relation of the levels.
    """

    def __init__(self, calibration: Calibration) -> None:
        self._calibration = calibration
        self.levels_per_db = PIXEL_LEVELS / DBZ_SPAN * calibration.zr_b / USUAL.zr_b
        self.faintest = int(self.levels(USUAL.dbz_from_rate([FAINTEST_MM_H]))[0])

    @cached_property
    def dbz_by_level(self) -> Float[np.ndarray, " level"]:
        """Reflectivity in dBZ of each level; -inf for level 0, which is dry."""
        return USUAL.dbz_from_rate(self._calibration.rate_by_level())

    def levels(self, dbz: NDArray[np.float64]) -> UInt8[np.ndarray, "..."]:
        """Nearest level of a reflectivity in dBZ, at the ends of the scale where it is beyond."""
        return encode(self._calibration.pixel_from_rate(USUAL.rate_from_dbz(dbz)))

    def weaken(
        self,
        levels: UInt8[np.ndarray, "*time height width"],
        loss_db: Float[np.ndarray, "height width"],
    ) -> None:
        """Subtract a loss in dB, at least 0, in place; what gets below `FAINTEST_MM_H` is dry."""
        lost = np.rint(np.minimum(loss_db * self.levels_per_db, PIXEL_LEVELS)).astype(np.uint8)
        levels -= np.minimum(levels, lost)
        levels *= levels >= np.where(lost > 0, self.faintest, 0).astype(np.uint8)
