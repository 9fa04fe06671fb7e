"""Time-lagged flow: members of the same times from ever older frames, and their mean."""

import numpy as np
import pytest
import torch
from torch import Tensor

from nowcast.core.errors import ConfigError
from nowcast.precipitation.forecasters.flow.extrapolation import Extrapolation
from nowcast.precipitation.forecasters.flow.lagged import LaggedFlow, mean_of_rates
from nowcast.precipitation.forecasters.persistence import Persistence
from nowcast.precipitation.forecasters.settings import as_ensemble
from nowcast.precipitation.units import Calibration
from tests.rain_fields import rain

HKO7 = Calibration()


def moving(frames: int) -> tuple[Tensor, Tensor]:
    """Rain that moves 2 pixels a step to the right, and a mask that lacks some."""
    _, field, mask = rain(0, clips=1, leads=frames, height=48, width=96, masked=0.05)
    clip = torch.stack([field[:, 0, :, :, 40 - 2 * t : 88 - 2 * t] for t in range(frames)], dim=1)
    return clip, mask[..., :48]


def test_a_member_is_the_extrapolation_from_an_older_frame():
    clip, mask = moving(5)
    members = LaggedFlow(3, HKO7, lags=3).members(clip, mask)
    assert members.shape == (1, 3, 3, 1, 48, 48)
    for lag in range(3):
        older = Extrapolation(3 + lag)(clip[:, : 5 - lag], mask[:, : 5 - lag])
        assert torch.equal(members[:, lag], older[:, lag:])
    assert float((members[:, 0] - members[:, 2]).abs().mean()) > 1e-3


def test_its_forecast_is_the_mean_rain_rate_of_the_members():
    clip, mask = moving(4)
    model = LaggedFlow(2, HKO7)
    members = model.members(clip, mask)
    assert members.shape[1] == 3  # of 4 frames: the oldest member needs two
    rate = HKO7.rate_from_pixel(members.numpy()).mean(1)
    found = HKO7.rate_from_pixel(model(clip, mask).numpy())
    np.testing.assert_allclose(found, rate, rtol=1e-4, atol=0.017)  # what pixel 0 is the least of
    assert torch.equal(mean_of_rates(members, HKO7), model(clip, mask))


def test_as_many_members_as_are_asked_for_and_no_more_than_there_are():
    clip, mask = moving(5)
    model = LaggedFlow(2, HKO7)
    assert torch.equal(model.members(clip, mask, count=2), model.members(clip, mask)[:, :2])
    with pytest.raises(ConfigError, match="expected 1 to 4 members from 5 input frames, found 5"):
        model.members(clip, mask, count=5)
    with pytest.raises(ValueError, match="lags >= 1, found 0"):
        LaggedFlow(2, HKO7, lags=0)


def test_what_is_an_ensemble():
    lagged = LaggedFlow(2, HKO7)
    assert as_ensemble(lagged) is lagged
    assert as_ensemble(LaggedFlow(2, HKO7, lags=1)) is None
    assert as_ensemble(Persistence(2)) is None
