"""Balancing weights by hand, at every threshold and on both sides of it."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nowcast.precipitation.units import DWD_ZR_A, DWD_ZR_B, Calibration
from nowcast.precipitation.verification.balance import balancing_weights, pixel_thresholds

HKO7 = Calibration()
DWD = Calibration(DWD_ZR_A, DWD_ZR_B)


def test_thresholds_by_hand():
    # (10 log10(58.53) + 15.6 log10(R) + 10) / 70 for R = 0.5, 2, 5, 10, 30 mm/h.
    expected = (0.328253, 0.462426, 0.55111, 0.618197, 0.724527)
    assert pixel_thresholds(HKO7) == pytest.approx(expected, abs=1e-6)
    assert pixel_thresholds(DWD)[3] == pytest.approx((24.0824 + 14.2 + 10) / 70, abs=1e-6)


@pytest.mark.parametrize("calibration", [HKO7, DWD])
@pytest.mark.parametrize(
    ("rate_mm_h", "weight"),
    [
        (0.0, 1.0),
        (0.49, 1.0),
        (0.51, 1.0),
        (1.99, 1.0),
        (2.01, 2.0),
        (4.99, 2.0),
        (5.01, 5.0),
        (9.99, 5.0),
        (10.01, 10.0),
        (29.9, 10.0),
        (30.1, 30.0),
        (500.0, 30.0),
    ],
)
def test_weights_on_both_sides_of_each_threshold(
    rate_mm_h: float, weight: float, calibration: Calibration
):
    pixel = torch.from_numpy(calibration.pixel_from_rate([rate_mm_h])).float()
    assert balancing_weights(pixel, calibration).item() == weight


def test_the_threshold_itself_belongs_to_the_heavier_class():
    at = torch.tensor(pixel_thresholds(HKO7))
    assert balancing_weights(at, HKO7).tolist() == [1.0, 2.0, 5.0, 10.0, 30.0]
    below = torch.nextafter(at, torch.zeros(()))
    assert balancing_weights(below, HKO7).tolist() == [1.0, 1.0, 2.0, 5.0, 10.0]


def test_weights_of_the_8_bit_levels_of_hko7():
    levels = torch.tensor([0, 117, 118, 140, 141, 157, 158, 184, 185, 255])
    weights = balancing_weights(levels.float() / 255, HKO7)
    assert weights.tolist() == [1, 1, 2, 2, 5, 5, 10, 10, 30, 30]


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**16))
def test_the_shape_is_kept_and_every_pixel_stands_alone(seed: int):
    truth = torch.from_numpy(np.random.default_rng(seed).random((2, 3, 1, 4, 5), np.float32))
    weights = balancing_weights(truth, DWD)
    assert weights.shape == truth.shape
    assert weights.flatten().tolist() == [
        balancing_weights(pixel, DWD).item() for pixel in truth.flatten()
    ]
