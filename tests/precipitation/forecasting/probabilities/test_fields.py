"""Fields of an ensemble against answers worked out by hand and by numpy."""

import numpy as np
import pytest
from numpy.typing import NDArray

from nowcast.precipitation.forecasting.probabilities.fields import (
    ensemble_mean,
    exceedance,
    nearby_maximum,
    probability_matched_mean,
    quantiles,
)

# Three members on two pixels by two.
MEMBERS = np.array(
    [[[0, 1], [2, 9]], [[0, 3], [0, 6]], [[0, 2], [1, 0]]],
    dtype=np.float32,
)


def rain(members: int = 7, seed: int = 0) -> NDArray[np.float32]:
    """Rates of which most are dry."""
    generator = np.random.default_rng(seed)
    return np.maximum(generator.gamma(0.5, 6, (members, 9, 11)) - 2, 0).astype(np.float32)


def test_the_mean():
    assert ensemble_mean(MEMBERS).tolist() == [[0, 2], [1, 5]]


def test_exceedance_counts_members_at_or_above():
    found = exceedance(MEMBERS, (1, 2, 10))
    third = pytest.approx(1 / 3)
    assert found[0].tolist() == [[0, 1], [pytest.approx(2 / 3)] * 2]
    assert found[1].tolist() == [[0, pytest.approx(2 / 3)], [third, pytest.approx(2 / 3)]]
    assert (found[2] == 0).all()


def test_quantiles_are_those_of_numpy():
    rates = rain()
    levels = (0.0, 0.1, 0.5, 0.77, 1.0)
    np.testing.assert_allclose(
        quantiles(rates, levels), np.quantile(rates, levels, axis=0), rtol=1e-5, atol=1e-6
    )


def test_the_probability_matched_mean_of_a_hand_worked_case():
    # All twelve values in order: 0 0 0 | 0 0 1 | 1 2 2 | 3 6 9, of each three the middle one; the
    # mean orders the pixels 0 < 1 < 2 < 5.
    assert probability_matched_mean(MEMBERS).tolist() == [[0, 2], [0, 6]]


def test_the_probability_matched_mean_has_the_members_rain_where_their_mean_has_it():
    alike = np.repeat(rain(1), 5, axis=0)
    np.testing.assert_array_equal(probability_matched_mean(alike), alike[0])
    rates = rain(24)
    matched, mean = probability_matched_mean(rates), ensemble_mean(rates)
    assert np.sort(matched.ravel()) == pytest.approx(np.sort(rates.ravel())[12::24])
    assert matched.std() > 2 * mean.std()
    order = np.argsort(mean.ravel(), kind="stable")
    assert (np.diff(matched.ravel()[order]) >= 0).all()
    assert (probability_matched_mean(0 * rates) == 0).all()


@pytest.mark.parametrize("member", [0, slice(None)])
def test_what_is_missing_stays_missing_and_changes_nothing_else(member: int | slice):
    whole, rates = rain(), rain()
    rates[member, 2, 3] = np.nan
    there = np.ones(rates.shape[1:], dtype=bool)
    there[2, 3] = False
    for made, expected in (
        (ensemble_mean(rates), ensemble_mean(whole)),
        (exceedance(rates, (0.5,))[0], exceedance(whole, (0.5,))[0]),
        (quantiles(rates, (0.5,))[0], quantiles(whole, (0.5,))[0]),
    ):
        assert np.isnan(made[2, 3])
        np.testing.assert_array_equal(made[there], expected[there])
    matched = probability_matched_mean(rates)
    assert np.isnan(matched[2, 3])
    kept = np.where(there, whole, 1e6).reshape(7, -1)[:, there.ravel()][:, None]
    np.testing.assert_array_equal(matched[there], probability_matched_mean(kept)[0])
    nothing = np.full_like(rates, np.nan)
    assert np.isnan(probability_matched_mean(nothing)).all()


def test_the_largest_nearby_is_within_a_disc():
    rates = np.zeros((2, 9, 9), dtype=np.float32)
    rates[0, 4, 4] = 5
    found = nearby_maximum(rates, (2, 2))
    rows, columns = np.ogrid[-4:5, -4:5]
    assert ((found[0] == 5) == (rows**2 + columns**2 <= 4)).all()
    assert (found[1] == 0).all()
    # Pixels half as wide as they are high.
    oval = nearby_maximum(rates, (1, 2))[0]
    assert ((oval == 5) == (4 * rows**2 + columns**2 <= 4)).all()
    # Less than a pixel is the pixel.
    np.testing.assert_array_equal(nearby_maximum(rates, (0.4, 0.4)), rates)


def test_a_neighbour_without_data_brings_no_rain_and_a_pixel_without_gets_none():
    rates = np.zeros((1, 5, 5), dtype=np.float32)
    rates[0, 2, 2], rates[0, 0, 0] = np.nan, 3
    found = nearby_maximum(rates, (1, 1))[0]
    assert np.isnan(found[2, 2]) and np.isnan(found).sum() == 1
    assert found[2, 1] == 0 and found[0, 1] == found[1, 0] == 3
