"""Extrapolation carries the last frame along; what flows in is the last frame's own, or dry."""

import math

import pytest
import torch
from torch import Tensor

from nowcast.precipitation.forecasters.extrapolation import Extrapolation
from nowcast.precipitation.forecasters.motion import Method

METHODS: tuple[Method, ...] = ("dis", "farneback")


def blob(
    row: float, column: float, side: int = 96, sigma: float = 8.0, height: float = 0.6
) -> Tensor:
    """A Gaussian of rain on a dry frame, cut off where it is weak."""
    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    distance = (rows - row).square() + (columns - column).square()
    rain = height * torch.exp(-distance / (2 * sigma**2))
    return rain.where(rain > 0.02, 0.0)[None]


def moving(frames: int, down: float, right: float, side: int = 96) -> Tensor:
    """A clip of a blob that moves by whole steps, at the centre in the last frame of the first 4"""
    centre = side / 2
    return torch.stack(
        [blob(centre + down * (t - 3), centre + right * (t - 3), side) for t in range(frames)]
    )[None]


@pytest.mark.parametrize("motion", METHODS)
@pytest.mark.parametrize(("down", "right"), [(0, 3), (-2, 0), (2, -3)])
def test_rain_that_moves_on_is_forecast_where_it_goes(motion: Method, down: int, right: int):
    clip = moving(9, down, right)
    forecast = Extrapolation(5, motion)(clip[:, :4])
    stays = (clip[:, 3:4] - clip[:, 4:]).abs().amax(dim=(2, 3, 4))
    error = (forecast - clip[:, 4:]).abs().amax(dim=(2, 3, 4))
    # Of the error that persistence makes, half at most, even at the last lead time.
    assert bool((error < 0.5 * stays).all()), (error, stays)


@pytest.mark.parametrize("motion", METHODS)
def test_a_clip_that_stands_still_is_persistence(motion: Method):
    clip = moving(4, 0, 0)
    torch.testing.assert_close(
        Extrapolation(3, motion)(clip), clip[:, -1:].expand(-1, 3, -1, -1, -1), atol=5e-3, rtol=0
    )


def test_dry_frames_give_dry_frames():
    assert not Extrapolation(2)(torch.zeros(1, 3, 1, 20, 20)).any()
    clip = moving(4, 0, 3)
    clip[:, -1] = 0
    assert not Extrapolation(2)(clip).any()


def test_a_batch_is_its_clips_one_at_a_time():
    clips = torch.cat([moving(4, 1, 2), moving(4, -3, 0), torch.zeros(1, 4, 1, 96, 96)])
    mask = torch.rand(clips.shape, generator=torch.Generator().manual_seed(0)) > 0.1
    model = Extrapolation(3)
    alone = [model(c[None], m[None]) for c, m in zip(clips, mask, strict=True)]
    assert torch.equal(model(clips, mask), torch.cat(alone))


@pytest.mark.parametrize(("motion", "inflow"), [("lk", "dry"), ("dis", "wet")])
def test_unknown_settings_are_named(motion: str, inflow: str):
    with pytest.raises((ValueError, TypeError), match=r"motion|inflow"):
        Extrapolation(2, motion, inflow)  # type: ignore[arg-type]


def test_nan_is_refused_where_it_counts_alone():
    clip, mask = moving(4, 0, 2), torch.ones(1, 4, 1, 96, 96, dtype=torch.bool)
    clip[0, 2, 0, 5, 5] = math.nan
    with pytest.raises(ValueError, match="found NaN"):
        Extrapolation(2)(clip, mask)
    mask[0, 2, 0, 5, 5] = False
    assert bool(Extrapolation(2)(clip, mask).isfinite().all())
