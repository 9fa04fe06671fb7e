"""Pixel, dBZ and mm/h: by hand at known points, and there and back again everywhere else."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nowcast.precipitation.units import (
    DWD_ZR_A,
    DWD_ZR_B,
    THRESHOLD_NAMES,
    Calibration,
    dbz_from_pixel,
    encode,
    pixel_from_dbz,
)

HKO7 = Calibration()
DWD = Calibration(DWD_ZR_A, DWD_ZR_B)


def test_one_mm_h_is_the_logarithm_of_a():
    assert HKO7.dbz_from_rate(1.0) == pytest.approx(10 * math.log10(58.53))
    assert HKO7.dbz_from_rate(1.0) == pytest.approx(17.6738, abs=1e-4)
    assert DWD.dbz_from_rate(1.0) == pytest.approx(24.0824, abs=1e-4)


def test_ten_times_the_rate_is_ten_b_decibels_more():
    assert HKO7.dbz_from_rate(10.0) == pytest.approx(17.6738 + 15.6, abs=1e-4)
    assert DWD.dbz_from_rate([0.1, 10.0]) == pytest.approx([24.0824 - 14.2, 24.0824 + 14.2])


def test_rate_from_dbz_by_hand():
    dbz = [17.6738, 17.6738 + 15.6, 17.6738 - 31.2]
    assert HKO7.rate_from_dbz(dbz) == pytest.approx([1.0, 10.0, 0.01], rel=1e-4)


def test_pixels_span_minus_ten_to_sixty_dbz():
    assert pixel_from_dbz([-10.0, 25.0, 60.0]).tolist() == [0.0, 0.5, 1.0]
    assert dbz_from_pixel([0.0, 0.5, 1.0]).tolist() == [-10.0, 25.0, 60.0]


def test_what_lies_beyond_the_scale_is_clipped():
    assert pixel_from_dbz([-40.0, -math.inf, 95.0]).tolist() == [0.0, 0.0, 1.0]
    # 60 dBZ is 517 mm/h with HKO-7's relation.
    assert HKO7.pixel_from_rate([0.001, 516.0, 520.0]) == pytest.approx([0, 0.99981, 1], abs=1e-4)


def test_dry_is_zero_both_ways_and_minus_infinity_in_decibels():
    assert HKO7.pixel_from_rate(0.0) == 0.0
    assert HKO7.dbz_from_rate(0.0) == -math.inf
    # 17/1000 mm/h is what -10 dBZ would be, but pixel 0 says that there is no rain.
    assert HKO7.rate_from_pixel([0.0, 1e-9]) == pytest.approx([0.0, 0.01683], abs=1e-4)


def test_an_unknown_rate_stays_unknown():
    assert np.isnan(HKO7.dbz_from_rate([math.nan, 1.0])).tolist() == [True, False]


@given(
    rate=st.floats(0.04, 200.0),
    relation=st.sampled_from([(58.53, 1.56), (200.0, 1.6), (256.0, 1.42)]),
)
def test_a_rate_survives_decibels_and_pixels(rate: float, relation: tuple[float, float]):
    radar = Calibration(*relation)
    assert radar.rate_from_dbz(radar.dbz_from_rate(rate)) == pytest.approx(rate)
    assert radar.rate_from_pixel(radar.pixel_from_rate(rate)) == pytest.approx(rate)


@given(low=st.floats(-10, 59), rise=st.floats(0.01, 1))
def test_more_decibels_are_a_larger_pixel(low: float, rise: float):
    assert pixel_from_dbz(low) < pixel_from_dbz(low + rise)


@pytest.mark.parametrize(
    ("a", "b"), [(0.0, 1.5), (200.0, 0.0), (-3.0, 1.6), (math.nan, 1.6), (1.0, math.inf)]
)
def test_a_relation_needs_positive_coefficients(a: float, b: float):
    with pytest.raises(ValueError, match="positive a and b"):
        Calibration(a, b)


def test_every_level_survives_encoding():
    levels = np.arange(256, dtype=np.uint8)
    assert np.array_equal(encode(levels / 255), levels)


def test_encode_rounds_half_up():
    # 76.5 and 178.5, which rounding half to even would send down.
    assert encode(np.array([0.3, 0.7])).tolist() == [77, 179]
    assert encode(np.array([0.49, 0.51, 254.49, 254.51]) / 255).tolist() == [0, 1, 254, 255]


@pytest.mark.parametrize("value", [math.nan, -0.001, 1.001, math.inf])
def test_what_is_no_pixel_is_not_encoded(value: float):
    with pytest.raises(ValueError, match="missing data in the mask"):
        encode(np.array([0.5, value]))


def test_names_of_the_thresholds():
    assert THRESHOLD_NAMES == ("0.5", "2", "5", "10", "30")
