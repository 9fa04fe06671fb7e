"""The figures of fields are right where the answer is known beforehand."""

import math

import numpy as np
import pytest
from scipy import ndimage

from nowcast.precipitation.preparation.rain_statistics import (
    STRETCH_FRAMES,
    anomaly,
    decorrelation_steps,
    flow_speed,
    lag_products,
    radial_power,
    rate_quantiles,
    spectrum_slope,
    stretches,
)
from nowcast.precipitation.units import encode

START = np.datetime64("2021-03-04T00:00", "m")


STEP = np.timedelta64(5, "m")


def spectral_noise(rng: np.random.Generator, side: int, slope: float) -> np.ndarray:
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.fftfreq(side)[None, :])
    frequency[0, 0] = np.inf
    spectrum = np.fft.fft2(rng.normal(size=(side, side))) * frequency ** (slope / 2)
    return np.fft.ifft2(spectrum).real


@pytest.mark.parametrize("slope", [-1.0, -2.0, -3.0])
@pytest.mark.parametrize("side", [64, 200])
def test_noise_of_a_known_slope_gives_that_slope(slope: float, side: int) -> None:
    rng = np.random.default_rng(5)
    power = [radial_power(spectral_noise(rng, side, slope)) for _ in range(20)]
    assert spectrum_slope(np.mean(power, axis=0), (side, side)) == pytest.approx(slope, abs=0.3)


def test_a_slope_needs_three_rings_and_power() -> None:
    assert spectrum_slope(np.ones(5), (8, 8)) is None
    assert spectrum_slope(np.zeros(33), (64, 64)) is None


@pytest.mark.parametrize("shift", [(0.0, 3.0), (2.0, -1.5), (-4.0, 3.0)])
def test_a_translated_field_gives_its_speed(shift: tuple[float, float]) -> None:
    noise = ndimage.gaussian_filter(np.random.default_rng(2).normal(size=(128, 128)), 4)
    field = np.clip((noise - noise.min()) / np.ptp(noise), 0, 1)
    moved = np.clip(ndimage.shift(field, shift, order=3, mode="nearest"), 0, 1)
    inside = np.zeros(field.shape, dtype=bool)
    inside[16:-16, 16:-16] = True
    speed = flow_speed(encode(field), encode(moved), inside)
    assert speed == pytest.approx(math.hypot(*shift), rel=0.05)


def test_no_wet_pixel_has_no_speed() -> None:
    dry = np.zeros((32, 32), np.uint8)
    assert flow_speed(dry, dry, dry > 0) is None


@pytest.mark.parametrize("coefficient", [0.5, 0.8, 0.9])
def test_an_ar1_series_gives_its_1_over_e_time(coefficient: float) -> None:
    rng = np.random.default_rng(7)
    fields = [rng.normal(size=(60, 60))]
    for _ in range(39):
        noise = rng.normal(size=(60, 60))
        fields.append(coefficient * fields[-1] + math.sqrt(1 - coefficient**2) * noise)
    steps = decorrelation_steps(lag_products(np.stack(fields)))
    assert steps == pytest.approx(-1 / math.log(coefficient), rel=0.07)


def test_a_standing_field_never_decorrelates_and_an_empty_one_has_no_time() -> None:
    field = np.random.default_rng(0).normal(size=(1, 8, 8))
    assert decorrelation_steps(lag_products(np.repeat(field, 5, axis=0))) == math.inf
    assert decorrelation_steps(lag_products(np.zeros((5, 8, 8)))) is None
    assert decorrelation_steps(lag_products(field)) is None


def test_lag_products_by_hand() -> None:
    fields = np.array([[[1.0, -1.0]], [[1.0, 1.0]], [[2.0, 0.0]]])
    inner, norms = lag_products(fields)
    np.testing.assert_allclose(inner, [2 + 2 + 4, 0 + 2, 2])
    np.testing.assert_allclose(norms, [8, 2 + 2 * math.sqrt(2), 2 * math.sqrt(2)])


def test_an_anomaly_ignores_what_is_masked() -> None:
    levels = np.array([[51, 102], [255, 153]], np.uint8)
    mask = np.array([[True, True], [False, True]])
    np.testing.assert_allclose(anomaly(levels, mask), [[-0.2, 0.0], [0.0, 0.2]], atol=1e-12)


def test_quantiles_are_levels_that_so_many_do_not_exceed() -> None:
    counts = np.array([0, 900, 90, 9, 1])
    rates = np.array([0.0, 1.0, 3.0, 10.0, 40.0])
    assert rate_quantiles(counts, rates) == (1.0, 1.0, 3.0, 10.0)
    assert rate_quantiles(np.zeros(5, dtype=np.int64), rates) is None


def test_stretches_have_no_gap_and_stay_within_the_number_asked_for() -> None:
    moments = START + STEP * np.delete(np.arange(600), [50, 51, 300])
    for max_frames in (2, 30, 240, 1000):
        runs = list(stretches(moments, STEP, max_frames))
        assert sum(map(len, runs)) <= max_frames
        assert all((np.diff(run) == STEP).all() and len(run) <= STRETCH_FRAMES for run in runs)
    drawn = np.concatenate(list(stretches(moments, STEP, 1000)))
    np.testing.assert_array_equal(drawn, moments)
    few = np.concatenate(list(stretches(moments, STEP, 96)))
    assert few[0] < START + STEP * 150 and few[-1] > START + STEP * 450
