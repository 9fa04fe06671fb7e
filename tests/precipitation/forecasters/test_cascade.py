"""Scale-dependent persistence: small scales fade first, and a distribution comes back."""

import warnings

import numpy as np
import pytest
import torch
from torch import Tensor

from nowcast.precipitation.forecasters.flow.cascade import cascade, matched
from nowcast.precipitation.units import Calibration
from tests.rain_fields import rain

pytestmark = pytest.mark.isa

CALIBRATION = Calibration()


def fading(seed: int = 0, side: int = 64) -> list[Tensor]:
    """Newest first: the same wide rain with other fine rain in every frame."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.arange(side)[:, None] / side
    wide = 0.45 + 0.1 * torch.cos(2 * torch.pi * rows).expand(side, side)
    fine = 0.1 * torch.rand(3, side, side, generator=generator)
    return list((wide + fine)[:, None, None])


def power(field: Tensor, finest: bool) -> float:
    spectrum = torch.fft.rfft2(field[..., 0, :, :] - field.mean()).abs().square()
    rows = torch.fft.fftfreq(field.shape[-2])[:, None]
    columns = torch.fft.rfftfreq(field.shape[-1])[None]
    part = torch.hypot(rows, columns) > 0.2
    return float(spectrum[..., part if finest else ~part].sum())


def test_fine_rain_that_does_not_last_fades_and_wide_rain_stays():
    frames = fading()
    forecast = cascade(frames, 8, CALIBRATION)
    assert forecast.shape == (8, 1, 1, 64, 64)
    assert power(forecast[0], finest=True) < 0.5 * power(frames[0], finest=True)
    assert power(forecast[7], finest=True) < 0.01 * power(frames[0], finest=True)
    assert power(forecast[7], finest=False) > 0.8 * power(frames[0], finest=False)
    assert forecast.mean(dim=(-1, -2)).flatten().tolist() == pytest.approx(
        [float(frames[0].mean())] * 8, abs=1e-4
    )


def test_rain_that_does_not_change_stays():
    frames = [fading()[0]] * 3
    forecast = cascade(frames, 5, CALIBRATION)
    assert (forecast - frames[0]).abs().max() < 0.05


def test_clips_do_not_hear_each_other():
    one, other = fading(1), fading(2)
    both = cascade([torch.cat(pair) for pair in zip(one, other, strict=True)], 3, CALIBRATION)
    torch.testing.assert_close(both[:, :1], cascade(one, 3, CALIBRATION), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [(33, 47), (32, 31), (16, 64)])
def test_any_size(size: tuple[int, int]):
    frames = [frame[..., : size[0], : size[1]] for frame in fading()]
    assert cascade(frames, 2, CALIBRATION).shape == (2, 1, 1, *size)


def test_dry_frames_stay_dry():
    dry = torch.zeros(2, 1, 16, 16)
    mask = torch.ones_like(dry, dtype=torch.bool)
    assert matched(cascade([dry] * 3, 4, CALIBRATION), dry, mask).abs().max() == 0


def test_matching_gives_back_the_distribution_in_the_order_of_the_forecast():
    frame = rain(0, 1, 1, 64, 64)[1][:, 0]
    mask = torch.ones_like(frame, dtype=torch.bool)
    mask[..., :20] = False
    smooth = torch.nn.functional.avg_pool2d(frame, 9, 1, 4)[None]
    found = matched(smooth, frame, mask)
    seen = found[0][mask]
    assert seen.sort().values.tolist() == pytest.approx(
        frame[mask].sort().values.tolist(), abs=0.03
    )
    order = smooth[0][mask].argsort()
    assert bool((seen[order].diff() >= -1e-6).all())


def test_it_smooths_as_s_prog_of_pysteps_does():
    """Not to the digit (filters and correlations differ in detail), but of the same power."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sprog = pytest.importorskip("pysteps.nowcasts.sprog")
    rng = np.random.default_rng(0)
    series = [rain(3, 1, 1, 96, 96)[1][0, 0, 0].numpy()]
    for _ in range(2):
        noise = rain(int(rng.integers(100)), 1, 1, 96, 96)[1][0, 0, 0].numpy()
        series.append(np.clip(0.9 * series[-1] + 0.1 * noise, 0, 1))
    rate = CALIBRATION.rate_from_pixel(np.stack(series))
    dbr = np.where(rate < 0.1, -15.0, 10 * np.log10(np.maximum(rate, 0.1)))
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        theirs = sprog.forecast(dbr, np.zeros((2, 96, 96)), 4, precip_thr=-10.0)
    newest = [torch.from_numpy(frame)[None, None].float() for frame in series[::-1]]
    ours = matched(
        cascade(newest, 4, CALIBRATION), newest[0], torch.ones(1, 1, 96, 96, dtype=torch.bool)
    )
    rates = CALIBRATION.rate_from_pixel(ours[:, 0, 0].numpy())
    our_dbr = np.where(rates < 0.1, -15.0, 10 * np.log10(np.maximum(rates, 0.1)))
    for lead in range(4):
        both = np.corrcoef(our_dbr[lead].ravel(), theirs[lead].ravel())[0, 1]
        assert both > 0.97
