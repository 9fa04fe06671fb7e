"""SSIM and PSNR against scikit-image, gradient differences by hand, masks everywhere."""

import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from nowcast.core.scoring.sums import Sums
from nowcast.precipitation.units import Calibration
from nowcast.precipitation.verification.image import image_curves, image_sums
from nowcast.precipitation.verification.scores import score_frames
from tests.rain_fields import Frames, rain


def scores(frames: Frames) -> dict[str, float]:
    """The first lead time's."""
    sums = Sums({**image_sums(*frames).values, **score_frames(*frames, Calibration()).values})
    return {name: curve.values[0] for name, curve in image_curves(sums).items()}


@pytest.mark.parametrize("seed", range(3))
def test_against_scikit_image(seed: int):
    frames = rain(seed, clips=1, leads=1, height=30, width=41)
    prediction, truth = (pixel[0, 0, 0].double().numpy() for pixel in frames[:2])
    ours = scores(frames)
    similar = structural_similarity(truth, prediction, data_range=1.0)
    assert ours["ssim"] == pytest.approx(similar, rel=1e-9)
    noise = peak_signal_noise_ratio(truth, prediction, data_range=1.0)
    assert ours["psnr"] == pytest.approx(noise, rel=1e-6)


def test_masked_ssim_is_scikit_images_over_the_windows_without_a_masked_pixel():
    prediction, truth, mask = rain(4, clips=1, leads=1)
    mask[..., 17:, :] = False
    mask[..., :3, 5] = False
    _, every = structural_similarity(
        truth[0, 0, 0].double().numpy(),
        prediction[0, 0, 0].double().numpy(),
        data_range=1,
        full=True,
    )
    # Windows of 7 x 7 are centred 3 pixels from the edge; the last whole one is centred in row 13.
    whole = torch.ones(11, 34, dtype=torch.bool)
    whole[0:3, 0:6] = False
    expected = every[3:14, 3:-3][whole.numpy()].mean()
    assert scores((prediction, truth, mask))["ssim"] == pytest.approx(expected, rel=1e-9)


def test_gradient_difference_by_hand():
    truth = torch.tensor([[0.0, 0.5], [0.25, 0.25]]).view(1, 1, 1, 2, 2)
    prediction = torch.tensor([[0.0, 0.25], [0.25, 0.5]]).view(1, 1, 1, 2, 2)
    mask = torch.ones_like(truth, dtype=torch.bool)
    # |dt| down 0.25, 0.25, right 0.5, 0; |dp| down 0.25, 0.25, right 0.25, 0.25.
    assert scores((prediction, truth, mask))["gdl"] == pytest.approx((0.25 + 0.25) / 4)
    mask[..., 1, 1] = False
    assert scores((prediction, truth, mask))["gdl"] == pytest.approx(0.25 / 2)


def test_a_perfect_and_a_masked_forecast_and_one_of_no_number():
    _, truth, mask = rain(0, clips=1, leads=3, height=8, width=8)
    prediction = truth.clone()
    prediction[:, 1] = torch.nan
    mask[:, 2] = False
    frames = prediction, truth, mask
    curves = image_curves(
        Sums({**image_sums(*frames).values, **score_frames(*frames, Calibration()).values})
    )
    assert curves["gdl"].points() == (0.0, None, None)
    assert curves["ssim"].points() == (pytest.approx(1.0), None, None)
    assert curves["psnr"].reasons == [
        "the forecast is perfect: its signal-to-noise ratio is infinite",
        "the forecast is not a number",
        "no valid pixel",
    ]
    assert curves["ssim"].reasons[2] == "no valid window of 7 x 7 pixels"


def test_frames_smaller_than_a_window_have_no_ssim():
    frames = rain(0, clips=1, leads=1, height=6, width=9)
    assert image_sums(*frames)["ssim_windows"].tolist() == [0]
