"""Power spectra: against pysteps, of waves whose wavelength is known, and of a blurred forecast."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from nowcast.core.scoring.sums import Sums
from nowcast.precipitation.verification.spectrum import (
    radial_bins,
    spectrum_curves,
    spectrum_sums,
    wavelengths,
)
from tests.rain_fields import rain, verification_of_pysteps


@pytest.mark.parametrize("size", [40, 41])
def test_against_pysteps_on_the_same_windowed_field(size: int):
    spectral = verification_of_pysteps("utils.spectral")
    prediction, truth, mask = rain(0, clips=1, leads=1, height=size, width=size)
    field = truth[0, 0, 0].double().numpy()
    hann = np.hanning(size)
    windowed = (field - field.mean()) * hann[:, None] * hann
    theirs = spectral.rapsd(windowed, fft_method=np.fft)
    ours = spectrum_sums(prediction, truth, mask)["power_truth"][:, 0]
    np.testing.assert_allclose(ours, theirs, rtol=1e-9)


@pytest.mark.parametrize("length", [4, 8, 20])
def test_a_wave_has_its_power_at_its_wavelength(length: int):
    wave = 0.5 + 0.4 * torch.sin(2 * torch.pi * torch.arange(80) / length)
    frames = wave.expand(1, 1, 1, 80, 80)
    power = spectrum_sums(frames, frames, torch.ones_like(frames, dtype=torch.bool))["power_truth"]
    assert wavelengths(len(power))[power[1:, 0].argmax()] == length


def test_all_power_of_a_square_frame_is_in_a_bin_or_beyond():
    numbers, count = radial_bins(12, 12)
    assert (count, numbers.min(), numbers.max()) == (6, 0, 6)
    assert (numbers == 0).sum() == 1
    assert (numbers == 1).sum() == 8  # (0, 1), (1, 1) and their like


def ratios(sums: Sums) -> dict[str, float | None]:
    with_pixels = Sums({**sums.values, "pixels": np.array([1])})
    return {name: curve.points()[0] for name, curve in spectrum_curves(with_pixels).items()}


def test_a_blurred_forecast_lacks_the_short_wavelengths():
    _, truth, mask = rain(1, clips=1, leads=1, height=128, width=128)
    blurred = torch.from_numpy(gaussian_filter(truth.numpy(), (0, 0, 0, 2, 2)))
    found = ratios(spectrum_sums(blurred, truth, mask))
    for start in (4, 8, 16, 32):
        # What a Gaussian of 2 pixels leaves of the power, at both ends of the octave.
        least, most = np.exp(-((2 * np.pi * 2 / np.array([start, 2 * start])) ** 2))
        ratio = found[f"spectrum/{start}"]
        assert ratio is not None and 0.9 * least < ratio < 1.1 * most


def test_half_the_amplitude_is_a_quarter_of_the_power():
    _, truth, mask = rain(2, clips=1, leads=1, height=128, width=128, masked=0.1)
    found = ratios(spectrum_sums(truth / 2, truth, mask))
    assert list(found.values()) == pytest.approx([0.25] * 6, rel=1e-6)


def test_what_is_undefined_has_its_reason():
    dry = torch.zeros(1, 3, 1, 16, 16)
    prediction = dry.clone()
    prediction[:, 1] = torch.nan
    mask = torch.ones_like(dry, dtype=torch.bool)
    mask[:, 2] = False
    sums = spectrum_sums(prediction, dry, mask)
    curves = spectrum_curves(Sums({**sums.values, "pixels": np.array([256, 256, 0])}))
    assert curves["spectrum/4"].points() == (None, None, None)
    assert list(curves["spectrum/4"].reasons) == [
        "the truth does not vary",
        "the forecast is not a number",
        "no valid pixel",
    ]
    assert curves["spectrum/32"].reasons[0] == "the frame has no wavelength of 32 pixels"
