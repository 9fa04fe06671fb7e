"""The numbers behind the diagrams: from the counts, over all lead times, and as JSON holds them."""

import json

import numpy as np
import pytest

from nowcast.precipitation.pictures.ensembles import rank_histogram, reliability_diagram
from nowcast.precipitation.units import THRESHOLD_NAMES, Calibration
from nowcast.precipitation.verification.balance import pixel_thresholds
from nowcast.precipitation.verification.ensembles.diagrams import diagrams
from nowcast.precipitation.verification.ensembles.verify import member_sums
from tests.precipitation.verification.ensembles.made_members import ensemble

HKO7 = Calibration()


def test_bins_are_those_of_the_pixels():
    members, truth, mask = ensemble(1, 4)
    found = diagrams(member_sums(members, truth, mask, HKO7, [0, 1]), 5)
    assert json.loads(json.dumps(found)) == found
    threshold = pixel_thresholds(HKO7)[1]
    said = (members >= threshold).double().mean(1)[mask].numpy()
    event = (truth >= threshold)[mask].numpy()
    of = found["reliability"]["2"]
    assert of["probability"] == [0, 0.25, 0.5, 0.75, 1]
    for probability, cases, observed in zip(*of.values(), strict=True):
        alike = event[said == probability]
        assert cases == len(alike)
        assert observed == (pytest.approx(alike.mean()) if cases else None)
    assert sum(cases > 10 for cases in of["cases"]) >= 3
    assert np.sum(found["by_lead_time"]["cases"]["2"], axis=0).tolist() == of["cases"]
    assert np.sum(found["by_lead_time"]["ranks"], axis=0).tolist() == found["ranks"]
    assert found["by_lead_time"]["minutes"] == [5, 10]
    roc = found["roc"]["2"]
    assert roc["pod"][2] == pytest.approx((said[event] >= 0.5).mean())
    assert roc["false_alarm_rate"][2] == pytest.approx((said[~event] >= 0.5).mean())


def test_what_has_no_case_is_none_and_is_drawn_all_the_same():
    members, truth, mask = ensemble(2, 3)
    dry = diagrams(member_sums(0 * members, 0 * truth, mask, HKO7, [0, 1]), 5)
    assert dry["reliability"]["30"]["observed"] == [0, None, None, None]
    assert set(dry["roc"]["30"]["pod"]) == {None}
    assert set(dry["economic_value"]["30"]["at_best"]) == {None}
    wet = diagrams(member_sums(members, truth, mask, HKO7, [0, 1]), 5)
    figure = reliability_diagram({"dry": dry, "wet": wet})
    assert len(figure.axes) == 2 * len(THRESHOLD_NAMES)
    (histogram,) = rank_histogram({"dry": dry, "wet": wet}).axes
    drawn = histogram.lines[1].get_ydata()
    assert np.mean(drawn[:-1]) == pytest.approx(1)
