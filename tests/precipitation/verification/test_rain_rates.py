"""Rain rates in mm/h: errors, amounts and quantiles by hand and against numpy."""

import numpy as np
import pytest
import torch
from torch import Tensor

from nowcast.core.scoring.sums import Sums
from nowcast.precipitation.units import DWD_ZR_A, DWD_ZR_B, Calibration
from nowcast.precipitation.verification.curves import Curve
from nowcast.precipitation.verification.rain_rates import (
    QUANTILES,
    rain_rate_curves,
    rain_rate_sums,
)
from tests.rain_fields import Frames, rain

HKO7, DWD = Calibration(), Calibration(DWD_ZR_A, DWD_ZR_B)


def curves(frames: Frames, calibration: Calibration = HKO7) -> dict[str, Curve]:
    sums = rain_rate_sums(*frames, calibration)
    pixels = frames[2].sum((0, 2, 3, 4)).numpy()
    return rain_rate_curves(Sums({**sums.values, "pixels": pixels}), calibration)


def pixels(*rates_mm_h: float) -> Tensor:
    return torch.from_numpy(HKO7.pixel_from_rate(rates_mm_h)).float().view(1, 1, 1, 1, -1)


def test_errors_and_amounts_by_hand():
    truth, prediction = pixels(0.0, 1.0, 10.0, 50.0), pixels(0.0, 4.0, 6.0, 0.0)
    mask = torch.tensor([True, True, True, False]).view_as(truth)
    found = curves((prediction, truth, mask))
    assert found["rmse_mm_h"].values == pytest.approx([np.sqrt((9 + 16) / 3)], rel=1e-5)
    assert found["rain_amount"].values == pytest.approx([10 / 11], rel=1e-5)


@pytest.mark.parametrize("calibration", [HKO7, DWD])
def test_sums_follow_the_calibration(calibration: Calibration):
    prediction, truth, mask = rain(0, masked=0.3)
    sums = rain_rate_sums(prediction, truth, mask, calibration)
    predicted, true = (
        calibration.rate_from_pixel(p.numpy()) * mask.numpy() for p in (prediction, truth)
    )
    over = (0, 2, 3, 4)
    np.testing.assert_allclose(sums["rate_error"], ((predicted - true) ** 2).sum(over), rtol=1e-5)
    np.testing.assert_allclose(sums["rate_prediction"], predicted.sum(over), rtol=1e-5)
    np.testing.assert_allclose(sums["rate_truth"], true.sum(over), rtol=1e-5)


def test_quantiles_are_numpys_within_half_a_bin():
    prediction, truth, mask = rain(1, clips=4, leads=1, height=60, width=60, masked=0.2)
    found = curves((prediction, truth, mask))
    for quantile in QUANTILES:
        predicted, true = (
            np.quantile(HKO7.rate_from_pixel(pixel[mask].numpy()), quantile, method="inverted_cdf")
            for pixel in (prediction, truth)
        )
        # Half a bin is 1/2040 of 70 dBZ: a rain rate's 0.51 %.
        bias = found[f"quantile_bias/{quantile:g}"].values[0]
        assert bias == pytest.approx(predicted / true, rel=0.0052)


def test_the_truths_own_quantiles_are_without_bias():
    _, truth, mask = rain(1)
    found = curves((truth, truth, mask))
    assert all(found[f"quantile_bias/{q:g}"].values.tolist() == [1, 1] for q in QUANTILES)


def test_what_is_undefined_has_its_reason():
    truth = torch.zeros(1, 3, 1, 4, 4)
    prediction = truth + 0.5
    prediction[0, 1, 0, 0, 0] = torch.nan
    mask = torch.ones_like(truth, dtype=torch.bool)
    mask[:, 2] = False
    found = curves((prediction, truth, mask))
    for name, dry in (
        ("rain_amount", "the truth is dry"),
        ("quantile_bias/0.99", "a share 0.99 of the true pixels is dry"),
    ):
        assert found[name].points() == (None, None, None)
        assert found[name].reasons == [dry, "the forecast is not a number", "no valid pixel"]
    assert found["rmse_mm_h"].points()[1:] == (None, None)
