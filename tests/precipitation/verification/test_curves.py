"""Means over lead times and the reasons for what is undefined, by hand."""

import numpy as np

from nowcast.precipitation.verification.curves import NO_NUMBER, NO_PIXEL, Curve, as_scores, ratio


def test_a_ratio_is_undefined_and_silent_where_it_would_divide_by_zero():
    values = ratio(np.array([1.0, 0.0, 3.0]), np.array([2, 0, 0]))
    np.testing.assert_array_equal(values, [0.5, np.nan, np.nan])


def test_the_mean_takes_the_defined_points_unless_a_forecast_is_no_number():
    assert Curve(np.array([1.0, np.nan, 3.0]), ["", NO_PIXEL, ""]).mean() == 2.0
    assert Curve(np.array([1.0, np.nan, 3.0]), ["", NO_NUMBER, ""]).mean() is None
    assert Curve(np.array([np.nan]), [NO_PIXEL]).mean() is None


def test_reasons_name_their_lead_times_unless_they_hold_at_all():
    values = np.array([np.nan, 2.0, np.inf, np.nan])
    curve = Curve(values, ["dry", "dry", "perfect", "dry"])
    assert curve.why([5.0, 10.0, 15.0, 20.0]) == "dry at 5, 20 min; perfect at 15 min"
    assert Curve(values[:1], ["dry"]).why([5.0]) == "dry"
    assert Curve(np.ones(2), ["dry", "dry"]).why([5.0, 10.0]) is None


def test_support_is_by_lead_time_and_in_total():
    scores = as_scores(
        {"csi/2": Curve(np.array([0.5, 0.25]), ["", ""])}, 3, {"pixels": np.array([4, 5])}, 6
    )
    assert scores.values == {"csi/2": 0.375}
    assert scores.curves == {"csi/2": (0.5, 0.25)}
    assert scores.axis == (6.0, 12.0)
    assert scores.support == {"clips": 3, "pixels": 9}
    assert scores.support_curves == {"pixels": (4, 5)}
    assert scores.resting_on(episodes=2).support == {"clips": 3, "pixels": 9, "episodes": 2}
