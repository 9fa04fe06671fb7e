"""One lead time at a time is the same forecast as all at once."""

import os
import subprocess
import sys
from math import prod

import pytest
import torch
from torch import Tensor

from nowcast.precipitation.forecasters.comoving.forecaster import (
    Comoving,
    bytes_at_once,
    bytes_stepwise,
)
from nowcast.precipitation.forecasting.forecast import BASE_BYTES
from nowcast.precipitation.units import PIXEL_LEVELS, Calibration
from tests.precipitation.forecasters.test_comoving import SMALL, moving_rain


def made(out_len: int, calibration: Calibration | None = None) -> Comoving:
    torch.manual_seed(0)
    found = Comoving(out_len, calibration, SMALL).eval()
    for last in (found.network.head, found.network.correction.added):
        torch.nn.init.normal_(last.weight, std=0.01)
    return found


def both(model: Comoving, frames: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    with torch.no_grad():
        whole = model(frames, mask)
        model.bytes_at_most = 0
        return whole, model(frames, mask)


@pytest.mark.parametrize(
    ("size", "in_len", "out_len"), [((48, 64), 5, 4), ((50, 61), 5, 8), ((17, 23), 3, 2)]
)
def test_the_forecast_is_the_same(size: tuple[int, int], in_len: int, out_len: int):
    frames = moving_rain(*size, in_len)
    whole, parts = both(made(out_len), frames, None)
    assert whole.std() > 0.01
    assert torch.isclose(parts, whole, rtol=0, atol=1e-4).float().mean() > 0.999
    assert (parts - whole).abs().mean() < 1e-5


def test_masks_gaps_and_other_relations_are_the_same():
    frames = moving_rain(50, 61)
    mask = torch.ones_like(frames, dtype=torch.bool)
    mask[..., 20:30] = False
    mask[0, 0] = mask[0, 3] = mask[1, 4] = False
    for gone in (mask, torch.zeros_like(mask)):
        whole, parts = both(made(4, Calibration(256.0, 1.42)), frames, gone)
        assert torch.isclose(parts, whole, rtol=0, atol=1e-4).float().mean() > 0.999


def test_a_pixel_that_is_no_number_is_refused():
    frames = moving_rain()
    frames[0, 2, 0, 5, 5] = torch.nan
    model = made(2)
    model.bytes_at_most = 0
    with torch.no_grad(), pytest.raises(ValueError, match="NaN"):
        model(frames)


def test_eight_bits_do_as_well():
    levels = (moving_rain() * PIXEL_LEVELS).round().to(torch.uint8)
    model = made(3)
    for of_levels, of_pixels in zip(
        both(model, levels, None), both(made(3), levels.float() / PIXEL_LEVELS, None), strict=True
    ):
        torch.testing.assert_close(of_levels, of_pixels)


def test_training_and_small_frames_are_done_at_once(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Comoving, "_one_by_one", None)  # calling it would fail
    model = made(2)
    with torch.no_grad():
        model(moving_rain())
    model.bytes_at_most = 0
    model(moving_rain())


def test_what_it_needs_is_bounded_in_lead_times():
    europe = (1, 10, 1, 4400, 3800)
    assert bytes_at_once(europe, 10) > 20e9
    assert bytes_stepwise(europe, 10) < 3.4e9 and bytes_stepwise(europe, 20) < 4.1e9


PEAK = """
import resource, sys
import numpy as np
import torch
from nowcast.precipitation.forecasting.released.weights import SINGLE, located
from nowcast.precipitation.forecasting.trained import settings_of_run, trained_forecaster

height, width, in_len, out_len = map(int, sys.argv[1:])
run = located(SINGLE)
model = trained_forecaster(run, settings_of_run(run), out_len)
rows, columns = np.mgrid[:height, :width]
levels = np.empty((1, in_len, 1, height, width), np.uint8)
for time in range(in_len):
    wave = np.sin(rows / 40) * np.sin((columns - 3 * time) / 50)
    levels[0, time, 0] = np.where(wave > 0.3, 150 * wave, 0)
del rows, columns, wave
levels = torch.from_numpy(levels)
with torch.inference_mode():
    found = model(levels, torch.ones_like(levels, dtype=torch.bool))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("in_len", "out_len", "gib"), [(10, 10, 4.0), (5, 20, 4.5)])
def test_europes_composite_has_room(in_len: int, out_len: int, gib: float):
    size = (4400, 3800)
    ran = subprocess.run(
        [sys.executable, "-c", PEAK, *map(str, (*size, in_len, out_len))],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    peak = int(ran.stdout)
    assert peak < gib * 2**30
    said = BASE_BYTES + 2 * in_len * prod(size) + bytes_stepwise((1, in_len, 1, *size), out_len)
    assert 0.9 * peak < said < 1.1 * peak


def test_what_leaves_the_caches_of_a_cpu_is_forecast_a_lead_time_at_a_time():
    model = made(10)
    large, small = torch.empty(1, 10, 1, 480, 480), torch.empty(16, 10, 1, 96, 96)
    assert model._too_large(large, 10) and not model._too_large(small, 10)
    assert not model._too_large(large.to("meta"), 10)  # no CPU, and it has room
    assert model._too_large(large.to("meta"), 30)
