"""Counting in C gives what counting in torch operations gives."""

import shutil
import sysconfig
from pathlib import Path

import jaxtyping
import numpy as np
import pytest
import torch

from nowcast.precipitation.units import DWD_ZR_A, DWD_ZR_B, Calibration
from nowcast.precipitation.verification import tally as module
from nowcast.precipitation.verification.tally import Tally, tally
from tests.rain_fields import rain

pytestmark = pytest.mark.isa

HKO7, DWD = Calibration(), Calibration(DWD_ZR_A, DWD_ZR_B)


def test_it_is_built_where_it_can_be():
    header = Path(sysconfig.get_path("include")) / "Python.h"
    if shutil.which("cc") is None or not header.is_file():
        pytest.skip("there is no C compiler, or Python came without its headers")
    assert module.available, "install nowcast again: building it is optional, so it failed silently"


def both_ways(monkeypatch: pytest.MonkeyPatch, *frames: torch.Tensor, of: Calibration) -> None:
    if not module.available:
        pytest.skip("_tally is not built")
    in_c = tally(*frames, of)
    monkeypatch.setattr(module, "available", False)
    in_torch = tally(*frames, of)
    for name in ("valid", "hits", "observed", "warned"):
        assert torch.equal(getattr(in_c, name), getattr(in_torch, name)), name
    torch.testing.assert_close(in_c.errors, in_torch.errors, rtol=1e-12, atol=0, equal_nan=True)


# Less than one lane, between lanes, a chunk of 2048 pixels exactly, more than one, one of many.
@pytest.mark.parametrize("size", [(1, 1), (5, 13), (32, 64), (33, 64), (120, 120)])
@pytest.mark.parametrize("calibration", [HKO7, DWD])
def test_the_same_at_every_size(
    monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], calibration: Calibration
):
    both_ways(monkeypatch, *rain(3, 2, 3, *size, masked=0.3), of=calibration)


def test_the_same_of_values_off_the_scale_and_of_no_number(monkeypatch: pytest.MonkeyPatch):
    prediction, truth, mask = rain(5, 1, 4, 8, 16)
    prediction[0, 0] = torch.nan
    prediction[0, 1] = torch.inf
    prediction[0, 2] = -torch.inf
    both_ways(monkeypatch, prediction, truth, mask, of=HKO7)


def test_the_same_of_slices_and_of_half_precision(monkeypatch: pytest.MonkeyPatch):
    prediction, truth, mask = rain(6, 2, 6, 8, 16, masked=0.3)
    frames = (prediction.bfloat16()[:, ::2], truth[:, 3:], mask[:, 1:4])
    both_ways(monkeypatch, *frames, of=HKO7)


def test_every_8_bit_pair_is_counted_in_its_class():
    levels = torch.arange(256).float() / 255
    prediction, truth = levels.expand(256, 256), levels[:, None].expand(256, 256)
    frames = [pixel.reshape(1, 1, 1, 256, 256) for pixel in (prediction, truth)]
    counted: Tally = tally(*frames, torch.ones(1, 1, 1, 256, 256, dtype=torch.bool), HKO7)
    for row, threshold in enumerate((0.5, 2, 5, 10, 30)):
        above = int((HKO7.rate_from_pixel(np.arange(256) / 255) >= threshold).sum())
        assert counted.observed[row, 0] == counted.warned[row, 0] == 256 * above
        assert counted.hits[row, 0] == above**2


def test_another_shape_is_refused_where_types_are_not_checked(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    frames = torch.zeros(1, 2, 1, 4, 4)
    whole = torch.ones_like(frames, dtype=torch.bool)
    with pytest.raises(ValueError, match=r"expected a prediction .* \(1, 2, 1, 4, 4\)"):
        tally(frames[:, :1], frames, whole, HKO7)
    with pytest.raises(ValueError, match=r"found .* and \(1, 2, 1, 4, 3\)"):
        tally(frames, frames, whole[..., :3], HKO7)


@pytest.mark.skipif(not module.available, reason="_tally is not built: it takes a C compiler")
@pytest.mark.parametrize("elsewhere", [0, 1, 2])
def test_frames_on_another_device_never_reach_the_memory_of_this_one(
    monkeypatch: pytest.MonkeyPatch, elsewhere: int
):
    """`meta` is a device that every machine has; its tensors have no memory to point at."""

    def read(*_: object) -> None:
        raise AssertionError("C was given an address of another device")

    monkeypatch.setattr(module._tally, "tally", read)
    frames = list(rain(seed=0))
    frames[elsewhere] = frames[elsewhere].to("meta")
    with pytest.raises(ValueError, match=r"on one device, found them on .*meta"):
        tally(*frames, Calibration())


def test_a_mask_of_numbers_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    prediction, truth, mask = rain(seed=0)
    with pytest.raises(ValueError, match="expected a mask of booleans"):
        tally(prediction, truth, mask.float(), Calibration())
