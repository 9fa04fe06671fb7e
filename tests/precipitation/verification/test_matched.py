"""Bias-matched CSI against sorting every pixel, and under what must not change it."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from nowcast.core.scoring.sums import Sums
from nowcast.precipitation.units import (
    DWD_ZR_A,
    DWD_ZR_B,
    THRESHOLD_NAMES,
    THRESHOLDS_MM_H,
    Calibration,
)
from nowcast.precipitation.verification.balance import pixel_thresholds
from nowcast.precipitation.verification.curves import NO_NUMBER, NO_PIXEL, Curve
from nowcast.precipitation.verification.matched import level_sums, matched_curves
from nowcast.precipitation.verification.scores import benchmark_curves, score_frames
from tests.rain_fields import Frames, rain

HKO7, DWD = Calibration(), Calibration(DWD_ZR_A, DWD_ZR_B)
SIZE = {"clips": 3, "leads": 3, "height": 60, "width": 60}


def sums_of(frames: Frames, calibration: Calibration = HKO7) -> Sums:
    pixels = frames[2].sum((0, 2, 3, 4)).numpy()
    return Sums({**level_sums(*frames, calibration).values, "pixels": pixels})


def curves(frames: Frames, calibration: Calibration = HKO7) -> dict[str, Curve]:
    return matched_curves(sums_of(frames, calibration), calibration)


def row(*pixels: float) -> Tensor:
    return torch.tensor(pixels).view(1, 1, 1, 1, -1)


def everywhere(truth: Tensor) -> Tensor:
    return torch.ones_like(truth, dtype=torch.bool)


def by_sorting(prediction: NDArray, event: NDArray) -> tuple[float, float]:
    """CSI with as many warnings as events, on the largest predictions; ties share. And the least
    of these."""
    count = int(event.sum())
    level = np.rint(np.clip(prediction, 0, 1) * 255)
    ranked = np.sort(level)[::-1]
    least = ranked[count - 1]
    beyond, at = level > least, level == least
    hits = event[beyond].sum() + event[at].mean() * (count - beyond.sum())
    return hits / (2 * count - hits), least / 255


@pytest.mark.parametrize("calibration", [HKO7, DWD])
def test_it_is_what_sorting_the_pixels_gives(calibration: Calibration):
    prediction, truth, mask = rain(3, **SIZE, masked=0.2)
    found = curves((0.8 * prediction, truth, mask), calibration)
    for name, threshold in zip(THRESHOLD_NAMES, pixel_thresholds(calibration), strict=True):
        for lead in range(SIZE["leads"]):
            valid = mask[:, lead].numpy()
            event = (truth[:, lead].numpy() >= threshold)[valid]
            csi, least = by_sorting(0.8 * prediction[:, lead].numpy()[valid], event)
            assert 0 < csi < 1
            assert found[f"csi_matched/{name}"].values[lead] == pytest.approx(csi, rel=1e-12)
            pixel = calibration.pixel_from_rate(found[f"matched_threshold/{name}"].values[lead])
            assert pixel == pytest.approx(least, abs=0.5001 / 255)


def test_by_hand():
    """30 mm/h is pixel 0.72, 0.5 mm/h pixel 0.33."""
    truth = row(0.9, 0.8, 0.6, 0.2, 0.0, 0.0)
    prediction = row(0.4, 0.2, 0.6, 0.2, 0.2, 0.0)
    mask = everywhere(truth)
    found = curves((prediction, truth, mask))
    assert found["csi_matched/30"].values == pytest.approx([1 / 3])  # two: 0.6 is wrong, 0.4 right
    plain = benchmark_curves(score_frames(prediction, truth, mask, HKO7))
    assert plain["csi/30"].values.tolist() == [0]
    # Three: 0.6 and 0.4 are right, and so is each of the three at 0.2 by a third.
    assert found["csi_matched/0.5"].values == pytest.approx([(7 / 3) / (3 + 3 - 7 / 3)])


def test_a_perfect_forecast_has_1_at_the_threshold_itself():
    _, truth, mask = rain(2, **SIZE, masked=0.1)
    found = curves((truth, truth, mask))
    for name, threshold in zip(THRESHOLD_NAMES, THRESHOLDS_MM_H, strict=True):
        assert found[f"csi_matched/{name}"].values.tolist() == [1, 1, 1]
        # Half a level is 0.14 dBZ, or 2 % of a rain rate.
        matched = found[f"matched_threshold/{name}"].values
        np.testing.assert_allclose(matched, threshold, rtol=0.05)


def test_a_monotone_map_of_the_forecast_changes_its_threshold_only():
    prediction, truth, mask = rain(4, **SIZE)
    prediction = (prediction * 120).round() / 255  # so that no map merges or splits levels
    frames, mapped = (prediction, truth, mask), (2 * prediction, truth, mask)
    before, after = curves(frames), curves(mapped)
    plain = [benchmark_curves(score_frames(*each, HKO7)) for each in (frames, mapped)]
    for name in THRESHOLD_NAMES:
        matched = before[f"csi_matched/{name}"].values
        np.testing.assert_allclose(matched, after[f"csi_matched/{name}"].values)
        low, high = (each[f"matched_threshold/{name}"].values for each in (before, after))
        assert (low < high).all()
        one, other = (each[f"csi/{name}"].values for each in plain)
        assert (one != other).all() and (matched > one).all()


def test_events_are_those_of_the_benchmark():
    frames = rain(5, **SIZE, masked=0.3)
    levels, counts = level_sums(*frames, HKO7)["levels"], score_frames(*frames, HKO7)
    assert levels.shape == (6, 256, 3)
    np.testing.assert_array_equal(levels.sum((0, 1)), counts["pixels"])
    for place in range(5):
        observed = levels[place + 1 :].sum((0, 1))
        np.testing.assert_array_equal(observed, counts["hits"][place] + counts["misses"][place])


def test_batches_add_up_and_masked_pixels_change_nothing():
    prediction, truth, mask = rain(6, **SIZE, masked=0.3)
    whole = level_sums(prediction, truth, mask, HKO7)
    parts = zip(*(values.split([1, 2]) for values in (prediction, truth, mask)), strict=True)
    one, other = (level_sums(*part, HKO7) for part in parts)
    np.testing.assert_array_equal((one + other)["levels"], whole["levels"])
    for lost in (torch.nan, torch.inf, 0.9):
        changed = level_sums(prediction.where(mask, lost), truth.where(mask, lost), mask, HKO7)
        np.testing.assert_array_equal(changed["levels"], whole["levels"])


def test_a_dry_pixel_stays_dry():
    """Three events, one wet pixel in the forecast: one warning, which is right."""
    truth, prediction = row(0.9, 0.9, 0.9, 0.0), row(0.3, 0.0, 0.0, 0.0)
    found = curves((prediction, truth, everywhere(truth)))
    assert found["csi_matched/30"].values == pytest.approx([1 / 3])
    dry = curves((torch.zeros_like(truth), truth, everywhere(truth)))
    assert dry["csi_matched/30"].points() == (0.0,)
    assert dry["matched_threshold/30"].points() == (None,)
    assert dry["matched_threshold/30"].reasons == ["the forecast is dry"]


def test_what_is_undefined_has_its_reason():
    truth = torch.zeros(1, 3, 1, 4, 4)
    prediction, mask = truth + 0.5, everywhere(truth)
    prediction[0, 1, 0, 0, 0] = torch.nan
    mask[:, 2] = False
    found = curves((prediction, truth, mask))
    for name in ("csi_matched/5", "matched_threshold/5"):
        assert found[name].points() == (None, None, None)
        assert found[name].reasons == ["no event ≥ 5 mm/h in truth", NO_NUMBER, NO_PIXEL]
