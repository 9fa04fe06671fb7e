"""Rank histogram and coverage: flat and nominal where truth is a member, and only there."""

import numpy as np
import pytest
import torch

from nowcast.precipitation.units import Calibration
from nowcast.precipitation.verification.ensembles.ranks import inside, rank_curves
from nowcast.precipitation.verification.ensembles.verify import member_sums
from tests.precipitation.verification.ensembles.made_members import ensemble, exchangeable

HKO7 = Calibration()


def test_ranks_count_the_members_below_the_truth():
    members, truth, mask = ensemble(1, 5)
    members += 1e-3 * torch.rand(members.shape)  # so that only dry pixels tie
    ranks = member_sums(members, truth, mask, HKO7, [0, 1])["ranks"]
    for lead in range(2):
        valid = mask[:, lead] & (truth[:, lead] > 0)
        below = (members[:, :, lead].clamp(0, 1) < truth[:, lead, None]).sum(1).squeeze(1)
        expected = np.bincount(below[valid.squeeze(1)[:, None].squeeze(1)].numpy(), minlength=6)
        wet_only = ranks[:, lead]
        dry = mask[:, lead] & (truth[:, lead] == 0) & (members[:, :, lead] > 0).any(1)
        assert wet_only.sum() == valid.sum() + dry.sum()
        # Truths that are dry have a rank among the dry members, up to their number.
        assert (wet_only >= expected).all() and expected[1:].sum() > 100


@pytest.mark.parametrize("count", [3, 24])
def test_a_calibrated_ensemble_has_a_flat_histogram_and_nominal_coverage(count: int):
    """Half the pixels are dry, whose ties a random rank must spread evenly."""
    sums = member_sums(*exchangeable(2, count), HKO7, [9])
    share = sums["ranks"][:, 0] / sums["ranks"].sum()
    tied = 120 * 120 - int(sums["ranks"].sum())
    assert tied > 100  # pixels where all are dry are left out
    np.testing.assert_allclose(share, 1 / (count + 1), atol=0.012)
    for percent in (50, 90):
        coverage = rank_curves(sums)[f"coverage/{percent}"].values
        assert coverage == pytest.approx([percent / 100], abs=0.02)


@pytest.mark.parametrize(("width", "less"), [(0.5, True), (2.0, False)])
def test_too_little_spread_covers_too_little(width: float, less: bool):
    found = rank_curves(member_sums(*exchangeable(3, 24, width), HKO7, [9]))
    for percent in (50, 90):
        coverage = float(found[f"coverage/{percent}"].values[0])
        assert (coverage < percent / 100 - 0.03) if less else (coverage > percent / 100 + 0.03)


def test_ties_are_drawn_by_the_place_of_the_clip_alone():
    members, truth, mask = ensemble(4, clips=3)
    ties = torch.zeros_like(members)
    ties[:, 0] = members[:, 0]  # all others tie with a dry truth
    drawn = [member_sums(ties, truth, mask, HKO7, places)["ranks"] for places in ([7, 8, 9],) * 2]
    np.testing.assert_array_equal(*drawn)
    moved = member_sums(ties, truth, mask, HKO7, [1, 2, 3])["ranks"]
    assert (moved != drawn[0]).any() and moved.sum() == drawn[0].sum()


def test_parts_of_ranks_add_up_to_the_central_share():
    assert inside(1, 0.5).tolist() == [0.5, 0.5]
    assert inside(3, 0.5).tolist() == [0, 1, 1, 0]
    for members in (2, 9, 24):
        for central in (0.5, 0.9):
            assert inside(members, central).sum() / (members + 1) == pytest.approx(central)


def test_one_member_and_dry_frames_have_no_coverage():
    members, truth, mask = ensemble(5)
    alone = rank_curves(member_sums(members[:, :1], truth, mask, HKO7, [0, 1]))
    dry = rank_curves(member_sums(0 * members, 0 * truth, mask, HKO7, [0, 1]))
    for found, reason in (
        (alone, "one member has no spread"),
        (dry, "no valid pixel at which truth or forecast has rain"),
    ):
        for curve in found.values():
            assert curve.points() == (None, None)
            assert list(curve.reasons) == [reason] * 2
