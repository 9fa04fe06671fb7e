"""CRPS and spread against scoringrules, `scores` and sums by hand."""

import jaxtyping
import numpy as np
import pytest
import scoringrules
import torch
from numpy.typing import NDArray
from torch import Tensor

from nowcast.core.scoring.sums import Sums
from nowcast.precipitation.units import DWD_ZR_A, DWD_ZR_B, Calibration
from nowcast.precipitation.verification.curves import NO_NUMBER, NO_PIXEL, Curve
from nowcast.precipitation.verification.ensembles.crps import crps_curves, spread_curves
from nowcast.precipitation.verification.ensembles.verify import comparable, member_sums
from nowcast.precipitation.verification.verify import verify_frames
from tests.precipitation.verification.ensembles.made_members import ensemble, exchangeable

HKO7, DWD = Calibration(), Calibration(DWD_ZR_A, DWD_ZR_B)


def sums_of(members: Tensor, truth: Tensor, mask: Tensor, calibration: Calibration = HKO7) -> Sums:
    places = range(len(truth))
    found = member_sums(members, truth, mask, calibration, places)
    return Sums({**found.values, "pixels": mask.sum((0, 2, 3, 4)).numpy()})


def curves(*drawn: Tensor, calibration: Calibration = HKO7) -> dict[str, Curve]:
    sums = sums_of(*drawn, calibration)
    return crps_curves(sums) | spread_curves(sums)


def of_lead(
    members: Tensor, truth: Tensor, mask: Tensor, lead: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Members ``pixel member`` in [0, 1] and truth of the unmasked pixels."""
    valid = mask[:, lead].numpy()
    drawn = members[:, :, lead].double().clamp(0, 1).movedim(1, -1).numpy()[valid]
    return drawn, truth[:, lead].double().numpy()[valid]


@pytest.mark.parametrize("calibration", [HKO7, DWD])
@pytest.mark.parametrize("count", [2, 7, 24])
def test_crps_is_that_of_scoringrules(count: int, calibration: Calibration):
    drawn = ensemble(1, count)
    found = curves(*drawn, calibration=calibration)
    for lead in range(2):
        members, truth = of_lead(*drawn, lead)
        rates = calibration.rate_from_pixel(members), calibration.rate_from_pixel(truth)
        for unit, (one, true) in (("pixel", (members, truth)), ("mm_h", rates)):
            for name, estimator in (("crps", "fair"), ("crps_plain", "nrg")):
                each = scoringrules.crps_ensemble(true, one, estimator=estimator, backend="numpy")
                value = found[f"{name}_{unit}"].values[lead]
                assert each.mean() > 0.01
                assert value == pytest.approx(each.mean(), rel=1e-9)


def test_crps_is_that_of_scores():
    probability = pytest.importorskip("scores.probability")
    xarray = pytest.importorskip("xarray")
    drawn = ensemble(2, 5)
    found = curves(*drawn)
    members, truth = of_lead(*drawn, 1)
    fields = xarray.DataArray(members, dims=("pixel", "member"))
    true = xarray.DataArray(truth, dims="pixel")
    for name, method in (("crps_pixel", "fair"), ("crps_plain_pixel", "ecdf")):
        expected = probability.crps_for_ensemble(fields, true, "member", method=method)
        assert found[name].values[1] == pytest.approx(float(expected), rel=1e-9)


def test_by_hand():
    """Members 0.2 and 0.6, truth 0.5: errors 0.3 and 0.1, 0.4 apart; a dry pixel beside it."""
    members = torch.tensor([[0.6, 0.0], [0.2, 0.0]]).view(1, 2, 1, 1, 1, 2)
    truth = torch.tensor([0.5, 0.0]).view(1, 1, 1, 1, 2)
    found = curves(members, truth, torch.ones_like(truth, dtype=torch.bool))
    assert found["crps_pixel"].values == pytest.approx([(0.2 - 0.2) / 2], abs=1e-7)
    assert found["crps_plain_pixel"].values == pytest.approx([(0.2 - 0.1) / 2], rel=1e-6)
    # Variance 0.08, mean off by 0.1.
    spread = np.sqrt(1.5 * 0.08 / 0.01)
    assert found["spread_skill_pixel"].values == pytest.approx([spread], rel=1e-6)


def test_a_deterministic_forecast_has_its_mean_absolute_error():
    prediction, truth, mask = (each[:, 0] if each.ndim == 6 else each for each in ensemble(3))
    alone = comparable(verify_frames(prediction, truth, mask, HKO7))
    as_ensemble = sums_of(prediction[:, None], truth, mask)
    np.testing.assert_array_equal(alone["exceeding"], as_ensemble["exceeding"])
    one, other = crps_curves(alone), crps_curves(as_ensemble)
    for name, curve in one.items():
        np.testing.assert_allclose(curve.values, other[name].values, rtol=1e-6)  # float32 there
    np.testing.assert_allclose(one["crps_pixel"].values, alone["mae"] / alone["pixels"], rtol=1e-12)
    assert (
        spread_curves(as_ensemble)["spread_skill_mm_h"].reasons == ["one member has no spread"] * 2
    )


def test_fair_crps_does_not_reward_a_larger_ensemble():
    few, many = (curves(*exchangeable(4, count)) for count in (3, 40))
    fair, plain = (
        float(few[name].values[0] / many[name].values[0])
        for name in ("crps_pixel", "crps_plain_pixel")
    )
    assert fair == pytest.approx(1, abs=0.03)
    assert plain > 1.2


@pytest.mark.parametrize(("width", "ratio"), [(1.0, 1.0), (0.5, 0.5)])
def test_spread_skill_is_one_where_members_are_like_the_truth(width: float, ratio: float):
    members, truth, mask = exchangeable(5, 10, width)
    wet = (members.amin(1) > 0) & (truth > 0)  # where clipping at 0 does not narrow either
    assert wet.sum() > 200
    drawn = members * 0.1 + 0.5, truth * 0.1 + 0.5, mask
    found = curves(*drawn)["spread_skill_pixel"].values[0]
    assert found == pytest.approx(ratio, abs=0.1)


def test_batches_add_up_and_masked_pixels_change_nothing():
    members, truth, mask = ensemble(6, clips=3)
    whole = member_sums(members, truth, mask, HKO7, [5, 6, 7])
    one = member_sums(members[:2], truth[:2], mask[:2], HKO7, [5, 6])
    other = member_sums(members[2:], truth[2:], mask[2:], HKO7, [7])
    assert whole["exceeding"].sum() == 5 * mask.sum()
    for name, value in (other + one).values.items():
        if value.dtype == np.int64:
            np.testing.assert_array_equal(value, whole[name], err_msg=name)
        else:
            np.testing.assert_allclose(value, whole[name], rtol=1e-9, err_msg=name)
    for lost in (torch.nan, 0.9):
        changed = members.where(mask[:, None], lost), truth.where(mask, lost)
        again = member_sums(*changed, mask, HKO7, [5, 6, 7])
        for name, value in whole.values.items():
            np.testing.assert_array_equal(value, again[name], err_msg=name)


def test_the_order_of_members_matters_to_no_error():
    members, truth, mask = ensemble(7)
    turned = members.flip(1)
    one, other = (sums_of(each, truth, mask) for each in (members, turned))
    for name in one.values.keys() - {"power_member"}:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)


def test_what_is_undefined_has_its_reason():
    members, truth, mask = ensemble(8, masked=0)
    members[0, 0, 0, 0, 3, 3] = torch.nan
    mask[:, 1] = False
    found = curves(members, truth, mask)
    assert found.keys() == {
        f"{name}_{unit}"
        for name in ("crps", "crps_plain", "spread_skill")
        for unit in ("mm_h", "pixel")
    }
    for curve in found.values():
        assert curve.points() == (None, None)
        assert list(curve.reasons) == [NO_NUMBER, NO_PIXEL]


def test_shapes_that_do_not_fit_are_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    members, truth, mask = ensemble(9)
    with pytest.raises(ValueError, match="dimension of members second"):
        member_sums(members[:, :, :1], truth, mask, HKO7, [0, 1])
    with pytest.raises(ValueError, match="a place for each of 2 clips, found 1"):
        member_sums(members, truth, mask, HKO7, [0])
