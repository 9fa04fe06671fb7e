"""FSS by hand, against three other libraries, and at the frame's edge."""

import numpy as np
import pytest
import torch
from nowcast_bench.metrics import fss as fss_of_bench
from scores.spatial import fss_2d_single_field
from torch import Tensor

from nowcast.core.scoring.sums import Sums
from nowcast.precipitation.units import THRESHOLD_NAMES, Calibration
from nowcast.precipitation.verification import fractions as module
from nowcast.precipitation.verification.balance import pixel_thresholds
from nowcast.precipitation.verification.fractions import SCALES, fraction_curves, fraction_sums
from tests.rain_fields import rain, verification_of_pysteps

HKO7 = Calibration()


def fss(*frames: Tensor) -> dict[str, float]:
    """The first lead time's."""
    return {n: c.values[0] for n, c in fraction_curves(fraction_sums(*frames, HKO7)).items()}


def test_by_hand():
    # One event of 40 mm/h each, a pixel apart, in a frame of 2 x 3.
    truth, prediction = torch.zeros(2, 1, 1, 1, 2, 3).unbind(0)
    truth[..., 0, 0] = prediction[..., 0, 1] = 0.9
    mask = torch.ones_like(truth, dtype=torch.bool)
    scores = fss(prediction, truth, mask)
    assert scores["fss/30/1"] == 0.0
    # Two windows of 2 x 2: (f, o) = (1/4, 1/4) and (1/4, 0).
    assert scores["fss/30/2"] == pytest.approx(1 - 1 / 3)
    # Without the last column's pixels the second window holds two, one of which is an event.
    mask[..., 2] = False
    assert fss(prediction, truth, mask)["fss/30/2"] == pytest.approx(1 - (1 / 4) / (3 / 8))
    # Where the events themselves are masked there is none.
    mask[..., :2] = False
    mask[..., 2] = True
    assert np.isnan(fss(prediction, truth, mask)["fss/30/2"])


@pytest.mark.parametrize("seed", range(2))
def test_windows_inside_the_frame_agree_with_scores(seed: int):
    prediction, truth, mask = rain(seed, clips=1, leads=1, height=72, width=70)
    ours = fss(prediction, truth, mask)
    for name, threshold in zip(THRESHOLD_NAMES, pixel_thresholds(HKO7), strict=True):
        for scale in SCALES:
            theirs = fss_2d_single_field(
                prediction[0, 0, 0].numpy(),
                truth[0, 0, 0].numpy(),
                event_threshold=np.float32(threshold),
                window_size=(scale, scale),
                threshold_operator=np.greater_equal,
            )
            assert ours[f"fss/{name}/{scale}"] == pytest.approx(theirs, rel=1e-9), (name, scale)


def test_frames_in_a_wide_dry_margin_agree_with_pysteps():
    """There its windows, which reach outside and find it dry, are all windows with rain."""
    pysteps = verification_of_pysteps("verification.spatialscores")
    prediction, truth, _ = (
        torch.nn.functional.pad(values.float(), (64, 64, 64, 64))
        for values in rain(2, clips=1, leads=1)
    )
    ours = fss(prediction, truth, torch.ones_like(truth, dtype=torch.bool))
    for name, threshold in zip(THRESHOLD_NAMES, pixel_thresholds(HKO7), strict=True):
        for scale in SCALES:
            theirs = pysteps.fss(
                prediction[0, 0, 0].numpy(), truth[0, 0, 0].numpy(), np.float32(threshold), scale
            )
            assert ours[f"fss/{name}/{scale}"] == pytest.approx(theirs, rel=1e-6), (name, scale)


def test_masked_windows_agree_with_nowcast_bench():
    """It takes odd windows only; wider ones are checked against the definition below."""
    prediction, truth, mask = rain(3, clips=1, leads=1, masked=0.3)
    ours = fss(prediction, truth, mask)
    for name, threshold in zip(THRESHOLD_NAMES, pixel_thresholds(HKO7), strict=True):
        theirs = fss_of_bench(
            truth[0, 0, 0].numpy(),
            prediction[0, 0, 0].numpy(),
            float(np.float32(threshold)),
            1,
            mask=~mask[0, 0, 0].numpy(),
        )
        assert ours[f"fss/{name}/1"] == pytest.approx(theirs.value, rel=1e-9)


@pytest.mark.parametrize("scale", [2, 8, 32])
def test_masked_windows_follow_the_definition(scale: int):
    prediction, truth, mask = rain(4, clips=1, leads=1, masked=0.4)
    mask[..., :12, :12] = False  # some windows without a valid pixel
    ours = fraction_sums(prediction, truth, mask, HKO7)
    valid = windows(mask, scale).sum((-2, -1))
    threshold = pixel_thresholds(HKO7)[1]
    f, o = (
        windows((pixel >= threshold) & mask, scale).sum((-2, -1))[valid > 0] / valid[valid > 0]
        for pixel in (prediction, truth)
    )
    column = SCALES.index(scale)
    assert ours["fss_windows"][column, 0] == (valid > 0).sum()
    assert ours["fss_difference"][1, column, 0] == pytest.approx(((f - o) ** 2).sum(), rel=1e-9)
    assert ours["fss_reference"][1, column, 0] == pytest.approx((f**2 + o**2).sum(), rel=1e-9)


# Narrower than the widest windows, a block or a piece of C exactly, and beyond both.
@pytest.mark.parametrize("size", [(1, 1), (40, 33), (64, 176), (90, 65), (70, 700)])
@pytest.mark.parametrize("masked", [0.0, 0.01, 0.5, 1.0])
def test_c_and_torch_agree(monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], masked: float):
    if not module.available:
        pytest.skip("_fractions is not built")
    prediction, truth, mask = rain(5, 2, 2, *size, masked)
    mask[..., : size[1] // 2] |= masked == 0.5  # blocks of whole windows beside others
    in_c = fraction_sums(prediction, truth, mask, HKO7)
    monkeypatch.setattr(module, "available", False)
    in_torch = fraction_sums(prediction, truth, mask, HKO7)
    for name, value in in_torch.values.items():
        np.testing.assert_allclose(in_c[name], value, rtol=1e-12, err_msg=name)


def windows(field: Tensor, scale: int) -> np.ndarray:
    return np.lib.stride_tricks.sliding_window_view(field[0, 0, 0].numpy(), (scale, scale))


def test_what_is_undefined_has_its_reason():
    dry = torch.zeros(1, 2, 1, 40, 40)
    mask = torch.ones_like(dry, dtype=torch.bool)
    mask[:, 1] = False
    sums: Sums = fraction_sums(dry, dry, mask, HKO7)
    curves = fraction_curves(sums)
    assert curves["fss/2/32"].why([5.0, 10.0]) == (
        "no event ≥ 2 mm/h in truth or forecast at 5 min; "
        "no valid window of 32 pixels in the frame at 10 min"
    )
    assert curves["fss/2/64"].why([5.0, 10.0]) == "no valid window of 64 pixels in the frame"
