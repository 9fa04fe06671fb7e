"""All products of members of which every value is known."""

import numpy as np
import pytest

from nowcast.core.errors import ConfigError
from nowcast.precipitation.forecasting.probabilities.made import probabilities
from nowcast.precipitation.forecasting.probabilities.request import ProbabilityRequest
from nowcast.precipitation.units import Calibration
from tests.made_forecasts import made

ZR = Calibration(200.0, 1.6)
# Rain rates of two members over three leads of 5 minutes at one pixel.
AT_POINT = np.array([[0, 6, 12], [0, 0, 3]])
REQUEST = ProbabilityRequest(
    (1.0, 5.0, 10.0), (0.0, 0.5, 1.0), ("max:10", "sum:15"), "1px", ("px:1,1", "px:1,3", "px:0,7")
)


@pytest.fixture
def members() -> np.ndarray:
    rates = np.zeros((2, 3, 6, 8))
    rates[:, :, 1, 1] = AT_POINT
    rates[:, :, :, -1] = 50  # where there is no data
    return ZR.pixel_from_rate(rates).astype(np.float32)


def test_every_product_of_known_members(members: np.ndarray):
    forecast = made()
    found = probabilities(members, forecast.mask, forecast.description, REQUEST)
    at = (slice(None), 1, 1)
    assert found.mean[at] == pytest.approx([0, 3, 7.5], rel=1e-4)
    assert found.exceedance[:, :, 1, 1].tolist() == [[0, 0, 0], [0.5, 0.5, 0], [1, 0.5, 0.5]]
    assert found.quantiles[2, :, 1, 1] == pytest.approx([3, 7.5, 12], rel=1e-4)
    assert found.nearby is not None
    np.testing.assert_array_equal(found.nearby[:, :, 1, 2], found.exceedance[:, :, 1, 1])
    assert (found.nearby[:, :, 2, 2] == 0).all()
    largest, fallen = found.windows
    assert largest.exceedance[:, 1, 1].tolist() == [0.5, 0.5, 0]
    assert largest.quantiles[:, 1, 1] == pytest.approx([0, 3, 6], rel=1e-4)
    assert fallen.quantiles[:, 1, 1] == pytest.approx([0.25, 0.875, 1.5], rel=1e-4)
    assert fallen.exceedance[:, 1, 1].tolist() == [0.5, 0, 0]  # mm, of 1.5 and 0.25
    assert fallen.nearby is not None and fallen.nearby[:, 2, 1].tolist() == [0.5, 0, 0]


def test_points_tell_when_rain_arrives_within_the_radius(members: np.ndarray):
    forecast = made()
    wet, dry, missing = probabilities(members, forecast.mask, forecast.description, REQUEST).points
    assert [arrival.probability for arrival in wet.arrivals] == [1, 0.5, 0.5]
    assert str(wet.arrivals[0]) == "rain of 1 mm/h or more in 10 min (10-15), P = 1.00"
    assert wet.exceedance[0].tolist() == [0, 0.5, 1]
    assert [arrival.probability for arrival in dry.arrivals] == [0, 0, 0]
    assert [arrival.probability for arrival in missing.arrivals] == [None] * 3
    assert np.isnan(missing.exceedance).all()


def test_what_is_masked_is_missing_in_all_of_them(members: np.ndarray):
    forecast = made()
    found = probabilities(members, forecast.mask, forecast.description, REQUEST)
    assert found.nearby is not None
    fields = [found.mean, found.matched_mean, found.exceedance, found.nearby, found.quantiles]
    for window in found.windows:
        assert window.nearby is not None
        fields += [window.exceedance, window.nearby, window.quantiles]
    for field in fields:
        expected = np.broadcast_to(~forecast.mask, field.shape)
        np.testing.assert_array_equal(np.isnan(field), expected)
    assert found.matched_mean[:, forecast.mask].max() < 13  # nothing of the masked 50 mm/h


def test_without_windows_radius_or_points_there_are_none(members: np.ndarray):
    forecast = made()
    plain = probabilities(members, forecast.mask, forecast.description, ProbabilityRequest())
    assert (plain.nearby, plain.windows, plain.points) == (None, (), ())
    assert plain.exceedance.shape == (3, 5, 6, 8) and plain.quantiles.shape == (3, 3, 6, 8)


def test_a_forecast_without_members_has_no_probabilities():
    with pytest.raises(ConfigError, match="--members 24"):
        made().probabilities(ProbabilityRequest())
