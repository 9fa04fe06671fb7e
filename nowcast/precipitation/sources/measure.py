"""Units as people spell them, as one of the three that are converted: what `pint` reads and more.

A water depth is a length or a mass over an area (1 kg/m2 of water is 1 mm). What is no rain and no
reflectivity is refused, never taken for mm/h.
"""

import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Float

if TYPE_CHECKING:
    from pint import UnitRegistry

Unit = Literal["dBZ", "mm_h", "mm", "VIL"]

WORKS = (
    "dBZ or mm6 m-3 (reflectivity), a rain rate such as mm/h, mm/day, in/hr, m s-1 or "
    "kg m-2 s-1, or a rain sum such as mm, inches or kg m-2"
)
# What a units attribute says that states none.
STATES_NONE = ("", "1", "-", "none", "n/a", "na", "unknown", "unitless", "dimensionless")
_DBZ = ("dbz", "dbze", "10*log10(mm6 m-3)", "10 log10(mm6 m-3)")
# Bounds beyond which a value is no measurement but a fill value or another unit.
LOWEST_DBZ = -60.0  # what the most sensitive cloud radars see nearby
HIGHEST_DBZ = 100.0  # giant hail is near 80; 8-bit scales end at 95.5
HIGHEST_MM_H = 2000.0  # the record of one minute is 31.2 mm, 1872 mm/h (Unionville 1956, WMO)

_LONGEST = 60  # characters; more is no unit

# "m-2" and "m2" are powers (CF, UDUNITS), as in MetPy's preprocessor.
_POWER = re.compile(r"(?<=[A-Za-z])(?![A-Za-z])(?<![0-9\-][eE])(?<![0-9\-])(?=[0-9\-])")
# "mm/5min" is divided by five minutes, not by five and then multiplied by minutes.
_PER_SEVERAL = re.compile(r"/\s*(\d+(?:\.\d*)?)\s*([A-Za-z]+)\s*$")
# Powers that no unit has, which would take for ever to work out: 9**9**9, 9**(9), m1000, m⁹⁹⁹.
_NO_UNIT = re.compile(
    r"(\*\*|\^)\s*([+-]?\d+\s*(\*\*|\^)|\(|[+-]?\d{3})|[⁰¹²³⁴⁵⁶⁷⁸⁹]([⁰¹²³⁴⁵⁶⁷⁸⁹]{2}|\s*(\*\*|\^))"
)


@dataclass(frozen=True)
class Measure:
    """What numbers in some unit are, as one of the units that are converted.

    Args:
        unit: dBZ, mm_h (rain rate), mm (rain sum) or VIL.
        factor: numbers times this are in `unit`; for `linear` they are in mm^6 m^-3.
        linear: reflectivity factor Z itself, not its logarithm.
    """

    unit: Unit
    factor: float = 1.0
    linear: bool = False

    def convert(self, values: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
        """Numbers as values in `unit`; NaN stays NaN.

        A reflectivity factor of 0 is dry, -inf dBZ. One below 0 cannot be and becomes inf, which
        is refused where fields are checked.
        """
        if self.linear:
            z = values * self.factor
            with np.errstate(divide="ignore", invalid="ignore"):
                dbz = 10 * np.log10(z)
            return np.asarray(np.where(z < 0, np.inf, dbz))
        return values if self.factor == 1 else np.asarray(values * self.factor)

    def same(self, other: "Measure") -> bool:
        """Whether numbers in both mean the same."""
        return (
            self.unit == other.unit
            and self.linear == other.linear
            and bool(np.isclose(self.factor, other.factor, rtol=1e-6, atol=0))
        )


def measure(text: str) -> Measure | None:
    """What a unit's spelling means; None where it states no unit (``""``, ``1``).

    Raises:
        ValueError: it is no rain and no reflectivity, or not understood; the message lists what is.
    """
    spelled = text.strip().replace("mm_h", "mm/h")
    if spelled.lower() in STATES_NONE:
        return None
    if spelled.lower() in _DBZ:
        return Measure("dBZ")
    found = None
    if len(spelled) <= _LONGEST and not _NO_UNIT.search(_powers(spelled)):
        # MM/H is a rate to whoever wrote it, and megamolar over henry to the rules.
        found = _rain(spelled) or _rain(spelled.lower())
    if found is None:
        raise ValueError(f"expected {WORKS}; found {text[:_LONGEST]!r}")
    return found


def is_rain(text: str) -> bool:
    """Whether a unit's spelling is one of rain or reflectivity."""
    try:
        return measure(text) is not None
    except ValueError:
        return False


def metres(text: str) -> float | None:
    """Metres in a unit of length such as ``km``; None for anything else."""
    if len(text) > _LONGEST or _NO_UNIT.search(_powers(text)):
        return None
    try:
        found = float(_registry().Quantity(1, text).m_as("m"))
    except Exception:  # pint raises a dozen kinds
        return None
    return found if 0 < found < np.inf else None


def _rain(text: str) -> Measure | None:
    registry = _registry()
    try:
        quantity: Any = registry.Quantity(registry.parse_expression(_powers(text)))
        per_mass = quantity * registry.parse_expression("m**3/kg/1000")  # of water
        for water in (quantity, per_mass):
            if water.is_compatible_with("mm"):
                return _positive("mm", float(water.m_as("mm")))
            if water.is_compatible_with("mm/hour"):
                return _positive("mm_h", float(water.m_as("mm/hour")))
        if quantity.is_compatible_with("mm**6/m**3"):
            factor = float(quantity.m_as("mm**6/m**3"))
            # A volume has the same dimension: m3 is no reflectivity.
            return Measure("dBZ", factor, linear=True) if 1e-6 < factor < 1e6 else None
    except Exception:  # pint raises a dozen kinds, and tokenize's own
        return None
    return None


def _positive(unit: Unit, factor: float) -> Measure | None:
    whole = np.rint(factor)
    if np.isclose(factor, whole, rtol=1e-12, atol=0):
        factor = float(whole)
    return Measure(unit, factor) if 0 < factor < np.inf else None


def _powers(text: str) -> str:
    return _POWER.sub("**", _PER_SEVERAL.sub(r"/(\1 \2)", text))


@cache
def _registry() -> "UnitRegistry[Any]":
    import pint

    return pint.UnitRegistry(cache_folder=None)
