"""The full set of an ensemble beside that of its mean; FSS and spectrum of members."""

import json

import numpy as np
import pytest
import torch

from nowcast.core.scoring.sums import Scores, Sums
from nowcast.precipitation.units import Calibration
from nowcast.precipitation.verification.balance import pixel_thresholds
from nowcast.precipitation.verification.ensembles.verify import member_sums
from nowcast.precipitation.verification.fractions import fraction_sums
from nowcast.precipitation.verification.spectrum import spectrum_sums
from nowcast.precipitation.verification.verify import read_verification, verify_frames
from tests.precipitation.verification.ensembles.made_members import ensemble

HKO7 = Calibration()


def verified(seed: int, members: int = 5) -> Sums:
    drawn, truth, mask = ensemble(seed, members)
    of_mean = verify_frames(drawn.mean(1), truth, mask, HKO7)
    found = member_sums(drawn, truth, mask, HKO7, range(len(truth)))
    return Sums({**of_mean.values, **found.values})


def test_an_ensemble_is_read_beside_its_mean_and_json_brings_all_back():
    scores = read_verification(verified(1), 5, HKO7)
    assert Scores.from_document(json.loads(json.dumps(scores.document()))) == scores
    assert scores.why.keys() == {
        name for name, curve in scores.curves.items() if None in curve or not curve
    }
    families = {name.partition("/")[0] for name in scores.values}
    assert families >= {
        *("csi", "crps_mm_h", "crps_pixel", "brier", "roc_area", "value", "ensemble_fss"),
        *("spread_skill_mm_h", "coverage", "member_spectrum", "reliability_gap"),
    }


def test_a_forecast_without_members_has_what_can_be_compared():
    prediction, truth, mask = (each[:, 0] if each.ndim == 6 else each for each in ensemble(2))
    alone = read_verification(verify_frames(prediction, truth, mask, HKO7), 5, HKO7).values
    whole = read_verification(verified(2), 5, HKO7).values
    more = {name.partition("/")[0] for name in whole.keys() - alone.keys()}
    assert more == {
        *("spread_skill_mm_h", "spread_skill_pixel", "coverage", "ensemble_fss", "member_spectrum")
    }
    assert alone["crps_pixel"] == pytest.approx(alone["mae"])
    assert alone["brier/2"] is not None


def test_fss_of_one_member_is_that_of_the_forecast():
    members, truth, mask = ensemble(3, 1)
    own = fraction_sums(members[:, 0], truth, mask, HKO7)
    found = member_sums(members, truth, mask, HKO7, [0, 1])
    for name in ("difference", "reference"):
        np.testing.assert_array_equal(found[f"ensemble_fss_{name}"], own[f"fss_{name}"])


def test_fss_of_the_probability_window_by_window():
    members, truth, mask = ensemble(4, 9)
    found = member_sums(members, truth, mask, HKO7, [0, 1])
    threshold, lead, side = pixel_thresholds(HKO7)[1], 1, 4
    difference = reference = 0.0
    for clip in range(len(truth)):
        valid = mask[clip, lead, 0]
        fields = [
            ((members[clip, :, lead, 0] >= threshold).double().mean(0) * valid),
            (truth[clip, lead, 0] >= threshold).double() * valid,
            valid.double(),
        ]
        windows = [each.unfold(0, side, 1).unfold(1, side, 1).sum((2, 3)) for each in fields]
        forecast, observed = (each / windows[2].clamp(min=1) for each in windows[:2])
        difference += float((forecast - observed).square().sum())
        reference += float((forecast.square() + observed.square()).sum())
    assert found["ensemble_fss_difference"][1, 2, lead] == pytest.approx(difference, rel=1e-9)
    assert found["ensemble_fss_reference"][1, 2, lead] == pytest.approx(reference, rel=1e-9)


def test_the_spectrum_is_that_of_a_member_and_not_of_the_mean():
    members, truth, mask = ensemble(5, 6, clips=1)
    power = member_sums(members, truth, mask, HKO7, [3])["power_member"]
    each = [
        spectrum_sums(members[:, member], truth, mask)["power_prediction"] for member in range(6)
    ]
    assert sum(np.array_equal(power, own) for own in each) == 1
    of_mean = spectrum_sums(members.mean(1), truth, mask)["power_prediction"]
    assert of_mean[5:].sum() < 0.8 * power[5:].sum()
    drawn = {
        member_sums(members, truth, mask, HKO7, [place])["power_member"].tobytes()
        for place in range(12)
    }
    assert len(drawn) > 2  # another clip shows another member


def test_counts_beyond_sixteen_bits():
    """40 members of 64 x 64 pixels: 163840 in a window."""
    truth = torch.ones(1, 1, 1, 64, 64)
    members = truth[:, None].expand(-1, 40, -1, -1, -1, -1)
    found = member_sums(members, truth, torch.ones_like(truth, dtype=torch.bool), HKO7, [0])
    assert found["ensemble_fss_difference"].max() == 0
    assert found["ensemble_fss_reference"][:, -1, 0].tolist() == [2.0] * 5
