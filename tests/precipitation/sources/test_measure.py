"""Units as they are spelled in files and on the command line: converted, or refused with a list."""

import numpy as np
import pytest

from nowcast.precipitation.sources.measure import Measure, measure, metres

HOUR = 3600


@pytest.mark.parametrize(
    ("spelled", "factor"),
    [
        ("mm/h", 1), ("mm_h", 1), ("mm h-1", 1), ("mm hr-1", 1), ("mm h^-1", 1), ("mm h**-1", 1),
        ("mm.h-1", 1), ("mm·h⁻¹", 1), ("mm/hr", 1), ("MM/H", 1), ("mm/hour", 1), ("mm per hour", 1),
        ("millimeters / hour", 1), ("kg m-2 h-1", 1), ("kg/(m^2 h)", 1), ("kg m-2 s-1", HOUR),
        ("kg/m2/s", HOUR), ("mm s-1", HOUR), ("m s-1", 1000 * HOUR), ("in/hr", 25.4),
        ("inch hour-1", 25.4), ("mm/day", 1 / 24), ("mm d-1", 1 / 24), ("cm/h", 10),
        ("mm/5min", 12), ("mm/5 min", 12), ("mm / (5 min)", 12), ("0.1 mm/h", 0.1),
        ("1e-3 m s-1", HOUR), ("10^-3 m s-1", HOUR), ("l m-2 h-1", 1),
    ],
)  # fmt: skip
def test_rates(spelled: str, factor: float):
    found = measure(f" {spelled} ")
    assert found.unit == "mm_h" and found.factor == pytest.approx(factor, rel=1e-12)


@pytest.mark.parametrize(
    ("spelled", "factor"),
    [("mm", 1), ("kg m-2", 1), ("kg/m2", 1), ("inches", 25.4), ("in", 25.4), ("m", 1000),
     ("l m-2", 1), ("0.01 mm", 0.01)],
)  # fmt: skip
def test_sums(spelled: str, factor: float):
    found = measure(spelled)
    assert found.unit == "mm" and found.factor == pytest.approx(factor, rel=1e-12)


@pytest.mark.parametrize("spelled", ["dBZ", "dbz", "DBZ", "dBZe"])
def test_reflectivity(spelled: str):
    assert measure(spelled) == Measure("dBZ")


def test_a_reflectivity_factor_becomes_its_logarithm():
    found = measure("mm6 m-3")
    assert found == measure("mm^6/m^3") == Measure("dBZ", 1.0, linear=True)
    z = np.array([[0, 1, 200, np.nan, -1]])
    expected = [[-np.inf, 0, 10 * np.log10(200), np.nan, np.inf]]
    np.testing.assert_allclose(found.convert(z), expected)


@pytest.mark.parametrize("spelled", ["", "1", "none", "unknown", "-", " "])
def test_what_states_no_unit(spelled: str):
    assert measure(spelled) is None


@pytest.mark.parametrize(
    "spelled",
    [
        "K", "%", "m3", "W m-2", "m s-2", "dB", "acre", "mm/h/h", "-1 mm/h", "0 mm/h", "nan mm",
        "1e999 mm", "mm/h since 1970", "((((mm", "os.system", "x" * 1000, "mmh-1", "degC", "s",
        # pint would work these out for ever
        "9**9**9**9 mm", "10**10**10 mm", "9**99999999 mm", "mm99999999",
        "9⁹⁹⁹⁹⁹⁹⁹⁹ mm", "9**(9**9**9) mm",
    ],
)  # fmt: skip
def test_what_is_no_rain_is_refused_with_what_works(spelled: str):
    with pytest.raises(ValueError, match=r"expected dBZ or mm6 m-3 .*mm/day.*kg m-2 s-1.*; found"):
        measure(spelled)


def test_the_same_unit_in_two_spellings():
    assert measure("kg m-2 s-1").same(measure("mm s-1"))
    assert not measure("mm").same(measure("mm/h"))
    assert not measure("dBZ").same(measure("mm6 m-3"))


@pytest.mark.parametrize(
    ("spelled", "expected"),
    [("km", 1000), ("m", 1), ("us_ft", None), ("degree", None), ("9**9**9**9 m", None)],
)  # fmt: skip
def test_lengths(spelled: str, expected: float | None):
    assert metres(spelled) == expected
