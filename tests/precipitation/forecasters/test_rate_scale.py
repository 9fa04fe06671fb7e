"""Pixels of two Z-R relations that mean one rain rate."""

import numpy as np
import pytest
import torch

from nowcast.precipitation.forecasters.rate_scale import from_hko7, to_hko7
from nowcast.precipitation.units import Calibration

DWD = Calibration(256.0, 1.42)


@pytest.mark.parametrize("rate", [0.1, 0.5, 2.0, 10.0, 80.0])
def test_the_rate_is_the_same(rate: float):
    pixel = torch.from_numpy(np.atleast_1d(DWD.pixel_from_rate(rate)))
    found = Calibration().rate_from_pixel(to_hko7(pixel, DWD).numpy())
    assert found == pytest.approx([rate], rel=1e-5)


def test_back_again_and_dry_stays_dry():
    pixels = torch.linspace(0, 1, 256, dtype=torch.float64)
    mapped = to_hko7(pixels, DWD)
    assert bool((mapped.diff() > 0).all()) and mapped[0] == 0
    torch.testing.assert_close(from_hko7(mapped, DWD), pixels)


def test_hko7_is_left_as_it_is():
    pixels = torch.rand(5)
    assert torch.equal(to_hko7(pixels, Calibration()), pixels)
