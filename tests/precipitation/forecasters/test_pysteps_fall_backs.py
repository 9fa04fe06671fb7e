"""Whatever pysteps raises or returns, there is a forecast, and what took its place is named."""

import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from nowcast.core.errors import ConfigError, DataError
from nowcast.core.terminal.result_warnings import ResultWarning
from nowcast.precipitation.archive.description import Description, Grid
from nowcast.precipitation.forecasters.baselines import BASELINES, Setting, baseline
from nowcast.precipitation.forecasters.through_pysteps import PystepsMethod, ThroughPysteps
from nowcast.precipitation.units import Calibration

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it warns of packages it could not import
    pytest.importorskip("pysteps")

HKO7 = Calibration()
METHODS: tuple[PystepsMethod, ...] = ("extrapolation", "sprog", "anvil", "steps")


def model(method: PystepsMethod, out_len: int = 3, **settings: Any) -> ThroughPysteps:
    return ThroughPysteps(method, out_len, HKO7, step_minutes=5, members=2, **settings)


def showers(
    height: int, width: int, frames: int, x: float, y: float, sigma: float, motion: Any = (0, 0)
) -> Tensor:
    """A shower that moves by so many columns and rows a frame: ``1 time 1 height width``."""
    rows, columns = np.mgrid[:height, :width]
    clip = [
        0.7 * np.exp(-((columns - x - motion[0] * t) ** 2 + (rows - y - motion[1] * t) ** 2) / far)
        for t in range(frames)
        for far in (2 * sigma**2,)
    ]
    return torch.from_numpy(np.stack(clip).astype(np.float32))[None, :, None]


def forecast_and_reasons(forecaster: ThroughPysteps, clip: Tensor) -> tuple[Tensor, list[str]]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ResultWarning)
        forecast = forecaster(clip)
    assert all(one.category is ResultWarning for one in caught)
    return forecast, [str(one.message) for one in caught]


@pytest.mark.parametrize("size", [(1, 5), (2, 2), (8, 8), (40, 50), (64, 64)])
@pytest.mark.parametrize("corner", [(0, 0), (-1, -1), (0, -1)])
def test_rain_in_a_corner_alone_is_not_forecast_away(size: tuple[int, int], corner: Any):
    clip = torch.zeros(1, 5, 1, *size)
    clip[..., corner[0], corner[1]] = 0.6
    forecast, reasons = forecast_and_reasons(model("steps"), clip)
    assert torch.equal(forecast, model("extrapolation")(clip))
    assert forecast[0, :, 0, corner[0], corner[1]].tolist() == pytest.approx([0.6] * 3)
    (reason,) = reasons
    assert reason.startswith("steps: a clip was forecast by extrapolation, because pysteps")


def test_rain_that_fills_the_outermost_column_stays():
    clip = torch.zeros(1, 5, 1, 48, 40)
    clip[..., :, -1] = torch.linspace(0.3, 0.7, 48)
    forecast, reasons = forecast_and_reasons(model("steps"), clip)
    assert bool((forecast[..., -1] > 0.25).all()) and len(reasons) == 1


def test_an_index_out_of_bounds_within_pysteps_is_no_traceback():
    # A shower of 48x37 frames that leaves them: S-PROG's percentile mask counts past its end.
    clip = showers(48, 37, 5, 17, -2, 6, (1, -2))
    forecaster = model("sprog")
    forecast, reasons = forecast_and_reasons(forecaster, clip)
    assert torch.equal(forecast, model("extrapolation")(clip)) and forecaster.replaced == 1
    assert "sprog: a clip was forecast by extrapolation, because pysteps" in reasons[0]


Broken = Callable[..., Any]


def raising(error: BaseException) -> Broken:
    def broken(*_: object, **__: object) -> None:
        raise error

    return broken


def returning(value: float, shape: tuple[int, ...] = (3, 32, 40)) -> Broken:
    return lambda *_, **__: np.full(shape, value)


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (raising(IndexError("index 9 is out of bounds")), "IndexError: index 9 is out of bounds"),
        (raising(MemoryError("Unable to allocate 2 TiB")), "MemoryError: Unable to allocate 2 TiB"),
        (raising(KeyError("x")), "KeyError: 'x'"),
        (raising(ZeroDivisionError()), "ZeroDivisionError"),
        (returning(-15.0), "is dry though the last frame is not"),
        (returning(np.nan), "holds no number"),
        (returning(np.inf), "holds infinity"),
        (returning(70.0), "is more than 10 times the largest rate of its input"),
        (returning(5.0, (3, 40, 32)), r"has the shape \(3, 40, 32\), not \(3, 32, 40\)"),
        (returning(5.0, (2, 32, 40)), r"has the shape \(2, 32, 40\), not \(3, 32, 40\)"),
    ],
)
def test_what_is_no_forecast_is_replaced_by_extrapolation(broken: Broken, reason: str):
    clip = showers(32, 40, 5, 20, 15, 5, (1, 0))
    forecaster = model("sprog")
    forecaster._pysteps = replace(forecaster._pysteps, nowcast=broken)
    with pytest.warns(ResultWarning, match=f"forecast by extrapolation, because .*{reason}$"):
        forecast = forecaster(clip)
    assert forecaster.replaced == 1
    assert torch.equal(forecast, model("extrapolation")(clip))


@pytest.mark.parametrize("method", METHODS)
def test_a_motion_that_fails_is_opencvs(method: PystepsMethod):
    clip = showers(32, 40, 5, 15, 15, 5, (2, 0))
    forecaster = model(method)
    broken = raising(IndexError("no features"))
    forecaster._pysteps = replace(forecaster._pysteps, motion=broken)
    forecast, reasons = forecast_and_reasons(forecaster, clip)
    assert reasons[0] == (
        f"{method}: a clip was forecast by OpenCV's flow, because pysteps' Lucas-Kanade failed: "
        "IndexError: no features"
    )
    assert forecaster.replaced == 1
    later = showers(32, 40, 8, 15, 15, 5, (2, 0))[:, 5:]
    stays = clip[:, -1:].expand(-1, 3, -1, -1, -1)
    assert float((forecast - later).square().mean()) < float((stays - later).square().mean())


def test_an_extrapolation_that_fails_is_our_own():
    clip = showers(32, 40, 5, 15, 15, 5, (2, 0))
    forecaster = model("extrapolation")
    broken = raising(RuntimeError("map_coordinates"))
    forecaster._pysteps = replace(forecaster._pysteps, extrapolation=broken)
    forecast, reasons = forecast_and_reasons(forecaster, clip)
    assert "our own advection" in reasons[0] and "map_coordinates" in reasons[0]
    torch.testing.assert_close(forecast, model("extrapolation")(clip), atol=0.02, rtol=0)


def odd_clips() -> list[tuple[str, Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    found = []
    for height, width in ((1, 1), (1, 6), (5, 1), (2, 2), (7, 3), (16, 33), (37, 20)):
        size = (1, 5, 1, height, width)
        everywhere = torch.ones(size, dtype=torch.bool)
        half = everywhere.clone()
        half[..., : width // 2] = False
        noise = torch.rand(size, generator=generator) * 0.5 + 0.3
        found += [
            (f"constant {height}x{width}", torch.full(size, 0.5), everywhere),
            (f"noise {height}x{width}", noise, everywhere),
            (f"half without data {height}x{width}", noise, half),
            (f"no data {height}x{width}", noise, torch.zeros_like(half)),
            (f"dry {height}x{width}", torch.zeros(size), everywhere),
        ]
    return found


@pytest.mark.parametrize("name", BASELINES)
@pytest.mark.parametrize("out_len", [2, 12])
def test_every_baseline_forecasts_frames_of_any_size(name: str, out_len: int):
    for what, clip, mask in odd_clips():
        archive = Description("odd", "made by the tests", 5, *clip.shape[-2:], 58.53, 1.56)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResultWarning)
            forecast = baseline(name, Setting(out_len, archive))(clip, mask)
        assert forecast.shape == (1, out_len, *clip.shape[2:]), what
        assert bool(forecast.isfinite().all()), what
        assert float(forecast.min()) >= 0 and float(forecast.max()) <= 1, what
        if what.startswith(("constant", "noise")):
            assert bool((forecast[:, 0] > 0.2).any()), what


def test_pixels_of_no_size_are_refused_before_memory_runs_out():
    with pytest.raises(ConfigError, match=r"expected pixels of 0\.05 to 100 km, found 1e-05"):
        model("steps", km_per_pixel=1e-5)


@pytest.mark.parametrize(
    ("projection", "pixel", "km"),
    [
        ("EPSG:4326", 0.01, 1.11),
        ("+proj=stere +lat_0=90 +a=6378.137 +b=6356.752", 1.0, 1.0),
        ("+proj=laea +lat_0=55 +to_meter=1000", 2.0, 2.0),
    ],
)
def test_steps_is_told_the_size_of_a_pixel(projection: str, pixel: float, km: float):
    grid = Grid(projection, 5.0, 55.0, pixel, pixel)
    archive = Description("placed", "made by the tests", 5, 32, 32, 200.0, 1.6, grid=grid)
    forecaster = baseline("steps", Setting(3, archive))
    assert isinstance(forecaster, ThroughPysteps)
    assert forecaster._settings["kmperpixel"] == pytest.approx(km, rel=0.01)


def test_steps_refuses_a_grid_whose_pixels_have_no_size_and_others_do_not_need_it():
    grid = Grid("+proj=laea +lat_0=55", 0.0, 0.0, 1.0, 1.0)  # km, said to be metres
    archive = Description("placed", "made by the tests", 5, 32, 32, 200.0, 1.6, grid=grid)
    with pytest.raises(DataError, match=r"found 0\.001 x 0\.001 km .* Correct grid in archive"):
        baseline("steps", Setting(3, archive))
    assert isinstance(baseline("sprog", Setting(3, archive)), ThroughPysteps)
