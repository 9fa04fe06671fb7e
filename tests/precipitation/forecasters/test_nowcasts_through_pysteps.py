"""pysteps' nowcasts as forecasters: what they need, what they give where nothing is known."""

import importlib
import math
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from nowcast.core.errors import ConfigError
from nowcast.core.terminal.result_warnings import ResultWarning
from nowcast.precipitation.forecasters import through_pysteps
from nowcast.precipitation.forecasters.settings import as_ensemble
from nowcast.precipitation.forecasters.through_pysteps import PystepsMethod, ThroughPysteps
from nowcast.precipitation.units import Calibration

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it warns of packages it could not import
    pytest.importorskip("pysteps")

HKO7 = Calibration()
METHODS: tuple[PystepsMethod, ...] = ("extrapolation", "sprog", "anvil", "steps")
SIDE = 64


def model(method: PystepsMethod, out_len: int = 3, **settings: Any) -> ThroughPysteps:
    return ThroughPysteps(method, out_len, HKO7, step_minutes=5, members=3, **settings)


def rain(frames: int, right: int = 2) -> Tensor:
    """A clip of smoothed noise that moves to the right by whole pixels and leaves part dry."""
    noise = np.random.default_rng(0).standard_normal((SIDE, SIDE + right * frames))
    frequency = np.hypot(np.fft.fftfreq(SIDE)[:, None], np.fft.fftfreq(noise.shape[1])[None])
    smooth = np.fft.ifft2(np.fft.fft2(noise) * np.exp(-((frequency / 0.06) ** 2))).real
    pixel = np.clip(0.3 + 0.15 * smooth / smooth.std(), 0, 1)
    pixel[pixel < 0.25] = 0
    starts = [right * (frames - t) for t in range(frames)]
    clip = np.stack([pixel[:, start : start + SIDE] for start in starts])
    return torch.from_numpy(clip.astype(np.float32))[None, :, None]


@pytest.mark.parametrize("method", METHODS)
def test_rain_that_moves_on_is_forecast_better_than_by_persistence(method: PystepsMethod):
    clip = rain(8)
    forecast = model(method)(clip[:, :5])
    assert forecast.shape == (1, 3, 1, SIDE, SIDE) and forecast.dtype == clip.dtype
    assert float(forecast.min()) >= 0 and float(forecast.max()) <= 1
    inner = (..., slice(12, -12), slice(12, -12))
    error = (forecast - clip[:, 5:]).square()[inner].mean((0, 2, 3, 4))
    stays = (clip[:, 4:5] - clip[:, 5:]).square()[inner].mean((0, 2, 3, 4))
    assert bool((error < stays).all()), (error, stays)


@pytest.mark.parametrize("method", METHODS)
def test_nothing_is_printed(method: PystepsMethod, capsys: pytest.CaptureFixture[str]):
    model(method)(rain(4))
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("method", METHODS)
def test_what_flows_in_is_the_last_frames_own_value_or_dry(method: PystepsMethod):
    clip = rain(5, right=6)
    persist, dry = (model(method, inflow=inflow)(clip) for inflow in ("persist", "dry"))
    at_the_edge = (0, slice(None), 0, slice(None), 0)  # the rain comes from the left
    if method != "steps":  # whose members may differ in their motion
        assert not dry[at_the_edge].any()
        last = clip[0, -1, 0, :, 0].expand(3, -1)
        torch.testing.assert_close(persist[at_the_edge], last)
    assert bool((persist >= dry - 1e-5).all()) and bool((persist > dry).any())


@pytest.mark.parametrize("method", METHODS)
def test_a_dry_last_frame_gives_a_dry_forecast(method: PystepsMethod):
    clip = rain(4)
    clip[:, -1] = 0.05  # below 0.1 mm/h
    assert not model(method)(clip).any()
    assert not model(method)(torch.zeros(2, 4, 1, 20, 30)).any()


@pytest.mark.parametrize(
    ("method", "case"),
    [
        ("sprog", "a dry frame before"),
        ("anvil", "a dry frame before"),
        ("steps", "a dry frame before"),
        ("sprog", "a single pixel"),
        ("steps", "a single pixel"),
    ],
)
def test_too_little_rain_is_extrapolated_and_said(method: PystepsMethod, case: str):
    clip = rain(4)
    if case == "a dry frame before":
        clip[:, 1 if method == "anvil" else 2] = 0
        clip[:, -2] = 0
    else:
        clip[:] = 0
        clip[..., 40, 40] = 0.5
    forecaster = model(method)
    with pytest.warns(UserWarning, match=f"{method}: a clip was forecast by extrapolation"):
        forecast = forecaster(clip)
    assert forecaster.replaced == 1
    assert torch.equal(forecast, model("extrapolation")(clip))


@pytest.mark.parametrize("method", METHODS)
def test_what_is_masked_does_not_matter(method: PystepsMethod):
    clip = rain(5)
    mask = torch.ones_like(clip, dtype=torch.bool)
    mask[..., :20, :20] = False
    mask[:, 2, :, 50:, 50:] = False
    forecast = model(method)(clip, mask)
    assert bool(forecast.isfinite().all())
    assert torch.equal(forecast, model(method)(clip.where(mask, 0.9), mask))
    assert torch.equal(forecast, model(method)(clip.where(mask, math.nan), mask))


def test_frames_without_data_are_passed_over():
    clip = rain(8)
    mask = torch.ones_like(clip[:, :5], dtype=torch.bool)
    mask[:, -1] = False
    late = model("sprog", 3)(clip[:, :5], mask)
    assert torch.equal(late, model("sprog", 4)(clip[:, :4])[:, 1:])
    mask[:, -1], mask[:, 3] = True, False
    repeated = clip[:, :5].clone()
    repeated[:, 3] = repeated[:, 2]
    assert torch.equal(model("sprog")(clip[:, :5], mask), model("sprog")(repeated))
    assert not model("sprog")(clip[:, :5], torch.zeros_like(mask)).any()


def test_a_batch_is_its_clips_one_at_a_time():
    clips = torch.cat([rain(4, 1), rain(4, 3)])
    for method in ("sprog", "steps"):
        alone = torch.cat([model(method)(clip[None]) for clip in clips])
        assert torch.equal(model(method)(clips), alone)


def test_too_few_frames_name_the_next_move():
    with pytest.raises(ConfigError, match=r"anvil needs 4 input frames, found 3; raise data.in_"):
        model("anvil")(rain(3))
    with pytest.raises(ConfigError, match="extrapolation needs 2 input frames, found 1"):
        model("extrapolation")(rain(1))


def test_nan_is_refused_where_it_counts():
    clip = rain(4)
    clip[0, 0, 0, 3, 3] = math.nan
    with pytest.raises(ValueError, match="found NaN"):
        model("extrapolation")(clip)


def test_unknown_settings_and_a_missing_package_are_named(monkeypatch: pytest.MonkeyPatch):
    for settings in ({"method": "linda"}, {"method": "sprog", "inflow": "wet"}):
        with pytest.raises((ConfigError, TypeError), match=r"method|inflow"):
            model(**settings)  # type: ignore[arg-type]

    def missing(name: str) -> object:
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr(through_pysteps.importlib, "import_module", missing)
    with pytest.raises(ConfigError, match=r"sprog: expected .* pysteps.*memel-nowcast\[py"):
        model("sprog")


def test_extrapolation_is_pysteps_own():
    clip = rain(5)
    forecast = model("extrapolation")(clip)[0, :, 0].numpy()
    pixels = clip[0, :, 0].numpy()
    rate = HKO7.rate_from_pixel(pixels)
    dbr = np.where(rate < 0.1, -15.0, 10 * np.log10(np.maximum(rate, 0.1)))
    lucas_kanade = importlib.import_module("pysteps.motion.lucaskanade").dense_lucaskanade
    carry = importlib.import_module("pysteps.extrapolation.semilagrangian").extrapolate
    expected = carry(pixels[-1], lucas_kanade(dbr[-3:]), 3)
    known = np.isfinite(expected)
    np.testing.assert_allclose(forecast[known], expected[known], atol=1e-6)
    np.testing.assert_array_equal(
        forecast[~known], np.broadcast_to(pixels[-1], forecast.shape)[~known]
    )


def test_steps_is_the_ensemble_whose_mean_it_forecasts():
    clip, steps = rain(5), model("steps")
    assert as_ensemble(steps) is steps and as_ensemble(model("sprog")) is None
    members = steps.members(clip)
    assert members.shape == (1, 3, 3, 1, SIDE, SIDE) and members.dtype == clip.dtype
    assert float(members.min()) >= 0 and float(members.max()) <= 1
    assert torch.equal(steps.single(members, clip), steps(clip))
    apart = (members[:, 0] - members[:, 1]).abs().mean((0, 2, 3, 4))
    assert bool((apart > 1e-3).all())


def test_members_of_steps_come_from_the_seed_alone():
    clip, steps = rain(5), model("steps", out_len=2)
    two = torch.cat([rain(5, right=1), clip])
    drawn = steps.members(clip, count=2, seed=7)
    assert drawn.shape[1] == 2
    assert torch.equal(steps.members(two, count=2, seed=7)[1:], drawn)
    assert not torch.equal(steps.members(clip, count=2, seed=8), drawn)


def test_members_without_a_forecast_of_their_own_are_all_the_same():
    dry, steps = torch.zeros(1, 5, 1, SIDE, SIDE), model("steps")
    assert steps.members(dry).shape == (1, 3, 3, 1, SIDE, SIDE)
    faint = dry.clone()
    faint[:, -1] = rain(1)[:, 0]
    with pytest.warns(ResultWarning, match="extrapolation"):
        members = steps.members(faint)
    assert members.shape[1] == 3 and float(members.amax()) > 0.2
    assert torch.equal(members[:, 0], members[:, 2])
