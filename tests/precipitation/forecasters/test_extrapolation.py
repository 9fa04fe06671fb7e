"""Extrapolation carries the last frame along; what flows in is the last frame's own, or dry."""

import math

import pytest
import torch
from torch import Tensor

from nowcast.precipitation.forecasters.flow.extrapolation import Extrapolation, Inflow
from nowcast.precipitation.forecasters.flow.motion import Method

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
    # Of the error that persistence makes, a sixth at most, even at the last lead time.
    assert bool((error < stays / 6).all()), (error, stays)


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


@pytest.mark.parametrize("motion", METHODS)
def test_what_flows_in_is_the_last_frames_own_value_or_dry(motion: Method):
    """Steady rain everywhere, with a pattern that moves to the right."""
    side, right = 96, 4
    columns = torch.arange(side)[None] - right * torch.arange(4)[:, None]
    rows = torch.arange(side).view(1, side, 1)
    wave = torch.sin(columns[:, None] / 5) * torch.cos(rows / 7)
    clip = (0.5 + 0.2 * wave)[None, :, None]
    persist, dry = (Extrapolation(3, motion, inflow)(clip) for inflow in ("persist", "dry"))
    torch.testing.assert_close(persist[0, :, 0, :, 0], clip[0, -1, 0, :, 0].expand(3, -1))
    assert not dry[0, :, 0, :, 0].any()
    inside = (..., slice(20, -20), slice(20, -20))
    torch.testing.assert_close(persist[inside], dry[inside])


@pytest.mark.parametrize("inflow", ["persist", "dry"])
def test_no_data_travel_and_are_filled_as_inflow_is(inflow: Inflow):
    """The blob moves right by 3; the column it came from 3 steps later had no data."""
    clip = moving(4, 0, 3)
    mask = torch.ones_like(clip, dtype=torch.bool)
    mask[..., :40] = False
    forecast = Extrapolation(2, "dis", inflow)(clip, mask)
    own = clip[0, -1, 0, 48, 42]  # has data itself, but its source does not
    assert float(own) > 0.3
    assert float(forecast[0, 1, 0, 48, 42]) == (float(own) if inflow == "persist" else 0.0)
    assert not forecast[..., :39].any()  # no data, and none flows in: dry with either


def test_what_is_masked_does_not_matter():
    clip = moving(4, 0, 3)
    mask = torch.ones_like(clip, dtype=torch.bool)
    mask[..., 20:30, 50:60] = False
    forecast = Extrapolation(2)(clip, mask)
    for other in (0.9, math.nan):
        assert torch.equal(forecast, Extrapolation(2)(clip.where(mask, other), mask))
    everything = torch.ones_like(mask)
    assert torch.equal(Extrapolation(2)(clip, everything), Extrapolation(2)(clip))


def test_a_clip_without_its_last_frame_starts_one_step_earlier():
    clip = moving(5, 1, 2)
    mask = torch.ones_like(clip, dtype=torch.bool)
    mask[:, -1] = False
    late = Extrapolation(3)(clip, mask)
    torch.testing.assert_close(late, Extrapolation(4)(clip[:, :4])[:, 1:])
    assert not Extrapolation(3)(clip, torch.zeros_like(mask)).any()


@pytest.mark.parametrize("motion", METHODS)
@pytest.mark.parametrize("shape", [(1, 1), (4, 5), (11, 40)])
def test_tiny_frames_are_forecast(motion: Method, shape: tuple[int, int]):
    clip = torch.rand(2, 3, 1, *shape, generator=torch.Generator().manual_seed(0))
    forecast = Extrapolation(2, motion)(clip)
    assert forecast.shape == (2, 2, 1, *shape)
    # Interpolation makes nothing that was not there, but for rounding.
    largest = clip.amax((1, 2, 3, 4), keepdim=True) + 1e-6
    assert float(forecast.min()) >= 0 and bool((forecast <= largest).all())


@pytest.mark.parametrize("motion", METHODS)
def test_constant_frames_stay(motion: Method):
    clip = torch.full((1, 3, 1, 40, 40), 0.5)
    torch.testing.assert_close(Extrapolation(2, motion)(clip), clip[:, :2])


def test_a_single_frame_persists():
    clip = moving(1, 0, 0)
    torch.testing.assert_close(Extrapolation(2)(clip), clip.expand(-1, 2, -1, -1, -1))


def test_dtype_comes_back_and_no_gradient_does():
    clip = moving(3, 0, 2).double().requires_grad_()
    forecast = Extrapolation(2)(clip)
    assert forecast.dtype == torch.float64 and not forecast.requires_grad
    assert Extrapolation(2)(clip.bfloat16()).dtype == torch.bfloat16
    assert not list(Extrapolation(2).parameters()) and not Extrapolation(2).state_dict()


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
