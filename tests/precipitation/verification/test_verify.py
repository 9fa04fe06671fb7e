"""The full set: any batching and order, masks, lead times, and the way into JSON."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nowcast.core.scoring.pooling import block_mean, pooled
from nowcast.core.scoring.sums import Scores, Sums
from nowcast.precipitation.units import Calibration
from nowcast.precipitation.verification.verify import read_verification, verify_frames
from tests.rain_fields import rain

HKO7 = Calibration()


def read(sums: Sums) -> Scores:
    return read_verification(sums, 5, HKO7)


def assert_same(one: Sums, other: Sums) -> None:
    """Counts to the bit, sums to 1e-9."""
    assert one.values.keys() == other.values.keys()
    for name, value in one.values.items():
        if value.dtype == np.int64:
            assert np.array_equal(value, other[name]), name
        else:
            np.testing.assert_allclose(value, other[name], rtol=1e-9, atol=1e-12, err_msg=name)


@settings(max_examples=10, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 3), min_size=1, max_size=3),
    seed=st.integers(0, 2**16),
    data=st.data(),
)
def test_any_batching_in_any_order_gives_the_same_sums(
    sizes: list[int], seed: int, data: st.DataObject
):
    frames = rain(seed, clips=sum(sizes), leads=2, height=20, width=17, masked=0.1)
    order = data.draw(st.permutations(range(sum(sizes))))
    at_once = verify_frames(*frames, HKO7)
    shuffled = (values[order].split(sizes) for values in frames)
    assert_same(
        at_once, pooled([verify_frames(*part, HKO7) for part in zip(*shuffled, strict=True)])
    )


def test_masked_pixels_never_change_a_score():
    prediction, truth, mask = rain(0, masked=0.2)
    other, other_truth, _ = rain(1)
    sums = verify_frames(prediction, truth, mask, HKO7)
    changed = verify_frames(
        prediction.where(mask, other), truth.where(mask, other_truth), mask, HKO7
    )
    lost = verify_frames(prediction.where(mask, torch.nan), truth, mask, HKO7)
    for name, value in sums.values.items():
        assert np.array_equal(value, changed[name]), name
        assert np.array_equal(value, lost[name]), name


def test_lead_times_stand_alone():
    frames = rain(0, leads=3)
    whole = read(verify_frames(*frames, HKO7))
    for lead in range(3):
        alone = read(verify_frames(*(values[:, lead : lead + 1] for values in frames), HKO7))
        for name, curve in whole.curves.items():
            point = curve[lead]
            expected = None if point is None else pytest.approx(point, rel=1e-9)
            assert alone.values[name] == expected, name


def test_a_perfect_forecast_has_the_best_of_every_score():
    _, truth, mask = rain(2, height=70, width=70, masked=0.02)
    scores = read(verify_frames(truth, truth, mask, HKO7))
    best = {
        **dict.fromkeys(("b_mse", "b_mae", "mse", "mae", "gdl", "rmse_mm_h", "far"), 0.0),
        **dict.fromkeys(("csi", "hss", "gss", "pod", "bias", "fss", "ssim", "csi_matched"), 1.0),
        **dict.fromkeys(("spectrum", "rain_amount", "quantile_bias"), 1.0),
        **dict.fromkeys(("crps_mm_h", "crps_plain_mm_h", "brier", "reliability"), 0.0),
        **dict.fromkeys(("crps_pixel", "crps_plain_pixel", "reliability_gap"), 0.0),
        **dict.fromkeys(("brier_skill", "roc_area", "value"), 1.0),
        "psnr": None,
    }
    for name, value in scores.values.items():
        family, _, member = name.partition("/")
        if family == "matched_threshold":  # to a level, 4 % of a rain rate
            assert value == pytest.approx(float(member), rel=0.05), name
            continue
        if family in ("resolution", "uncertainty"):
            assert scores.values[f"resolution/{member}"] == pytest.approx(
                scores.values[f"uncertainty/{member}"]
            )
            continue
        expected = best[family]
        if name != "spectrum/64":  # beyond what 70 pixels resolve
            assert value == (None if expected is None else pytest.approx(expected)), name


def test_every_undefined_score_has_a_reason_and_json_brings_all_back():
    dry = torch.zeros(1, 2, 1, 16, 16)
    scores = read(verify_frames(dry, dry, torch.ones_like(dry, dtype=torch.bool), HKO7))
    assert scores.why.keys() == {name for name, value in scores.values.items() if value is None}
    assert scores.support["pixels"] == 512
    assert scores.support["windows/8"] == 2 * 9 * 9
    assert Scores.from_document(json.loads(json.dumps(scores.document()))) == scores


def test_episodes_average_every_score():
    parts = [verify_frames(*rain(seed, clips=1 + seed), HKO7) for seed in range(2)]
    scores = block_mean(parts, read)
    for name in ("b_mse", "csi/2", "fss/2/8", "spectrum/4"):
        one, other = (read(part).values[name] for part in parts)
        assert scores.values[name] == pytest.approx((one + other) / 2)
    assert (scores.support["clips"], scores.support["blocks"]) == (3, 2)
