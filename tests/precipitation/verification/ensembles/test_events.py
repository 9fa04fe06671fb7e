"""Brier scores, ROC and value against scoringrules, `scores`, and definitions pixel by pixel."""

import numpy as np
import pytest
import scoringrules
import torch
from numpy.typing import NDArray
from torch import Tensor

from nowcast.core.scoring.sums import Sums
from nowcast.precipitation.units import THRESHOLD_NAMES, Calibration
from nowcast.precipitation.verification.balance import pixel_thresholds
from nowcast.precipitation.verification.curves import NO_NUMBER, NO_PIXEL, Curve
from nowcast.precipitation.verification.ensembles.events import (
    COST_LOSS,
    event_curves,
    rates,
    value,
)
from nowcast.precipitation.verification.ensembles.verify import member_sums
from tests.precipitation.verification.ensembles.made_members import ensemble

HKO7 = Calibration()


def sums_of(members: Tensor, truth: Tensor, mask: Tensor) -> Sums:
    return member_sums(members, truth, mask, HKO7, range(len(truth)))


def said(
    members: Tensor, truth: Tensor, mask: Tensor, lead: int, threshold: float
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Probability and event at each unmasked pixel."""
    valid = mask[:, lead].numpy()
    probability = (members[:, :, lead] >= threshold).double().mean(1).numpy()[valid]
    return probability, (truth[:, lead] >= threshold).numpy()[valid]


def test_brier_score_and_its_parts_are_as_defined():
    drawn = ensemble(1, 8)
    found = event_curves(sums_of(*drawn))
    for name, threshold in zip(THRESHOLD_NAMES, pixel_thresholds(HKO7), strict=True):
        for lead in range(2):
            probability, event = said(*drawn, lead, threshold)
            brier = scoringrules.brier_score(
                event.astype(float), probability, backend="numpy"
            ).mean()
            parts = {part: found[f"{part}/{name}"].values[lead] for part in PARTS}
            assert parts["brier"] == pytest.approx(brier, rel=1e-9) and brier > 0
            whole = parts["reliability"] - parts["resolution"] + parts["uncertainty"]
            assert whole == pytest.approx(brier, abs=1e-14)
            resolution = sum(
                (probability == stated).sum()
                * (event[probability == stated].mean() - event.mean()) ** 2
                for stated in np.unique(probability)
            )
            assert parts["resolution"] == pytest.approx(resolution / len(event), rel=1e-9)
            skill = 1 - brier / (event.mean() * (1 - event.mean()))
            assert parts["brier_skill"] == pytest.approx(skill, rel=1e-9)


PARTS = ("brier", "reliability", "resolution", "uncertainty", "brier_skill")


def test_roc_area_is_how_often_an_event_has_the_higher_probability():
    drawn = ensemble(2, 6)
    found = event_curves(sums_of(*drawn))
    for name, threshold in zip(THRESHOLD_NAMES, pixel_thresholds(HKO7), strict=True):
        probability, event = said(*drawn, 0, threshold)
        yes, no = probability[event][:, None], probability[~event]
        area = (yes > no).mean() + (yes == no).mean() / 2
        assert 0.5 < area < 1
        assert found[f"roc_area/{name}"].values[0] == pytest.approx(area, rel=1e-9)


def test_value_is_what_a_user_saves():
    """A user who pays `cost` to avoid a loss of 1, pixel after pixel."""
    drawn = ensemble(3, 10)
    found = event_curves(sums_of(*drawn))
    for name, threshold in zip(THRESHOLD_NAMES, pixel_thresholds(HKO7), strict=True):
        probability, event = said(*drawn, 1, threshold)
        for cost in COST_LOSS:
            protects = probability >= cost
            spent = np.where(protects, cost, event).mean()
            unaided = min(cost, event.mean())
            expected = (unaided - spent) / (unaided - cost * event.mean())
            of = found[f"value/{name}/{cost:g}"].values[1]
            assert of == pytest.approx(expected, rel=1e-9)


def test_value_at_the_best_probability_is_never_below_nothing_nor_the_stated():
    table = sums_of(*ensemble(4, 6))["exceeding"][1]
    for cost in (0.003, *COST_LOSS, 0.9):
        best, stated = value(table, cost, at_best=True), value(table, cost)
        assert (best >= stated).all() and (best >= 0).all() and (best <= 1).all()
    assert (value(table, 0.003, at_best=True) > value(table, 0.003)).any()


def test_roc_runs_from_one_corner_to_the_other():
    across, up = rates(sums_of(*ensemble(5, 6))["exceeding"][0])
    assert across.shape == up.shape == (8, 2)
    for each in (across, up):
        assert (each[0] == 1).all() and (each[-1] == 0).all() and (np.diff(each, axis=0) <= 0).all()


def test_a_perfect_ensemble_and_one_that_says_the_frequency():
    _, truth, mask = ensemble(6, 2, masked=0)
    perfect = truth[:, None].expand(-1, 4, -1, -1, -1, -1)
    found = event_curves(sums_of(perfect, truth, mask))
    for name in THRESHOLD_NAMES:
        for score, best in (("brier", 0), ("reliability", 0), ("brier_skill", 1), ("roc_area", 1)):
            assert found[f"{score}/{name}"].values == pytest.approx([best, best]), score
        assert found[f"value/{name}/0.1"].values == pytest.approx([1, 1])
    # Two of four members have rain everywhere, and so has one half of the frame.
    half = torch.zeros(1, 1, 1, 8, 8)
    half[..., :4] = 0.9
    members = torch.tensor([0.9, 0, 0.9, 0]).view(1, 4, 1, 1, 1, 1).expand(1, 4, 1, 1, 8, 8)
    frequent = event_curves(sums_of(members, half, torch.ones_like(half, dtype=torch.bool)))
    assert frequent["brier/30"].values == pytest.approx([0.25])
    for score in ("reliability", "resolution", "reliability_gap", "brier_skill"):
        assert frequent[f"{score}/30"].values == pytest.approx([0]), score
    assert frequent["roc_area/30"].values == pytest.approx([0.5])


def test_a_rare_bin_makes_no_reliability_gap():
    truth = torch.zeros(1, 1, 1, 10, 20)
    members = torch.zeros(1, 2, 1, 1, 10, 20)
    members[..., 0, 0] = 0.9  # 1 of 200 pixels: both say so, and it was not
    mask = torch.ones_like(truth, dtype=torch.bool)
    assert gap(members, truth, mask) == 0
    members[..., 0, 1] = 0.9
    assert gap(members, truth, mask) == 1  # 1 %


def gap(*drawn: Tensor) -> float:
    return float(event_curves(sums_of(*drawn))["reliability_gap/10"].values[0])


def undefined(curve: Curve) -> list[str | None]:
    return [
        None if np.isfinite(of) else why
        for of, why in zip(curve.values, curve.reasons, strict=True)
    ]


def test_what_is_undefined_has_its_reason():
    truth = torch.zeros(1, 4, 1, 5, 5)
    truth[:, 3] = 1.0
    members, mask = torch.zeros(1, 3, 4, 1, 5, 5), torch.ones_like(truth, dtype=torch.bool)
    members[0, 2, 1, 0, 4, 4] = torch.nan
    mask[:, 2] = False
    found = event_curves(sums_of(members, truth, mask))
    whole = [None, NO_NUMBER, NO_PIXEL, None]
    varying = [
        "no event ≥ 5 mm/h in truth",
        NO_NUMBER,
        NO_PIXEL,
        "every pixel is an event ≥ 5 mm/h in truth",
    ]
    for score in ("brier", "reliability", "resolution", "uncertainty", "reliability_gap"):
        assert undefined(found[f"{score}/5"]) == whole, score
    for score in ("brier_skill/5", "roc_area/5", "value/5/0.1"):
        assert undefined(found[score]) == varying, score
