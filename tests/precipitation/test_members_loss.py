from itertools import pairwise

import numpy as np
import pytest
import scoringrules
import torch
from pydantic import ValidationError

from nowcast.precipitation.loss import (
    PERSISTENCE_FLOOR,
    POOLED_PX,
    RATE_FLOOR,
    members_loss,
)
from nowcast.precipitation.settings import PrecipitationSettings
from nowcast.precipitation.units import Calibration

CALIBRATION = Calibration(200.0, 1.6)
SIZE = (1, 2, 1, 32, 48)


def drawn(members: int = 4) -> tuple[torch.Tensor, ...]:
    torch.manual_seed(3)
    truth = (torch.rand(SIZE) - 0.3).clamp(0, 0.7)
    mask = torch.rand(SIZE) > 0.1
    mask[..., :16, :16] = False
    frames = (torch.rand(1, members, *SIZE[1:]) - 0.3).clamp(0, 0.7)
    return frames, truth, mask, truth[:, 0].roll(3, -1)


def squares(values: np.ndarray, mask: np.ndarray, side: int) -> np.ndarray:
    """Means of what is known over squares of two last axes; NaN where nothing is."""
    with np.errstate(invalid="ignore"):
        cut = [
            part.reshape(*part.shape[:-2], part.shape[-2] // side, side, -1, side).sum((-3, -1))
            for part in (values * mask, mask.astype(float))
        ]
        return cut[0] / cut[1]


def test_it_is_the_fair_crps_of_scoringrules_over_persistence():
    frames, truth, mask, last = drawn()
    at_0 = float(CALIBRATION.rate_from_pixel(1e-12))
    expected = []
    for floor, unit in (
        (PERSISTENCE_FLOOR, lambda pixels: pixels.numpy().astype(float)),
        (
            RATE_FLOOR,
            lambda pixels: CALIBRATION.rate_from_pixel(pixels.clamp(min=1e-12).numpy()) - at_0,
        ),
    ):
        known = mask[0, :, 0].numpy()
        members, true, still = unit(frames[0, :, :, 0]), unit(truth[0, :, 0]), unit(last[0])
        shares = [squares(known.astype(float), np.ones_like(known), side) for side in POOLED_PX]
        means = [
            [squares(part, known, side) for part in (members, true, np.stack([still[0]] * 2))]
            for side in POOLED_PX
        ]
        apart = [
            [
                a - np.kron(np.nan_to_num(b), np.ones((4, 4)))
                for a, b in zip(fine, coarse, strict=True)
            ]
            for fine, coarse in pairwise(means)
        ]
        for of, share in zip(means + apart, shares + shares[:-1], strict=True):
            crps = scoringrules.crps_ensemble(of[1], of[0], m_axis=0, estimator="fair")
            total, of_last = (np.nansum(each * share) for each in (crps, np.abs(of[2] - of[1])))
            expected.append(total / (of_last + floor * share.sum()))
    found = members_loss(frames, truth, mask, last, CALIBRATION)
    assert float(found) == pytest.approx(np.mean(expected), rel=1e-4)


def test_what_is_masked_changes_nothing():
    frames, truth, mask, last = drawn()
    expected = members_loss(frames, truth, mask, last, CALIBRATION)
    frames = frames.where(mask[:, None], 0.9).requires_grad_()
    found = members_loss(frames, truth.where(mask, 0.9), mask, last, CALIBRATION)
    assert torch.equal(found.detach(), expected)
    found.backward()
    assert frames.grad is not None
    assert frames.grad[~mask[:, None].expand(frames.shape)].abs().max() == 0


def test_the_right_distribution_is_best():
    """Members from the truth's own distribution, against a narrower and a wider one."""
    torch.manual_seed(0)
    size = (64, 1, 1, 32, 32)
    centre = torch.full((64, 1, 1, 32, 32), 0.4)
    truth = (centre + 0.05 * torch.randn(size)).clamp(0, 1)
    mask, last = torch.ones(size, dtype=torch.bool), torch.full((64, 1, 32, 32), 0.5)

    def of(spread: float) -> float:
        noise = spread * torch.randn(64, 4, *size[1:])
        members = (centre[:, None] + noise).clamp(0, 1)
        return float(members_loss(members, truth, mask, last, CALIBRATION))

    assert of(0.05) < min(of(0.02), of(0.1))


def test_members_as_rough_as_the_truth_are_better_than_smooth_ones():
    """Alike in the spread of each pixel, but one pixel says nothing of the next in the truth."""
    torch.manual_seed(0)
    size = (64, 1, 1, 32, 32)

    def field(*shape: int, rough: bool) -> torch.Tensor:
        cell = torch.randn(*shape, 32, 32) if rough else torch.randn(*shape, 8, 8)
        return 0.4 + 0.05 * (
            cell if rough else cell.repeat_interleave(4, -1).repeat_interleave(4, -2)
        )

    truth, last = field(64, 1, 1, rough=True), torch.full((64, 1, 32, 32), 0.5)
    mask = torch.ones(size, dtype=torch.bool)
    rough, smooth = (
        float(members_loss(field(64, 4, 1, 1, rough=of), truth, mask, last, CALIBRATION))
        for of in (True, False)
    )
    assert rough < 0.9 * smooth


@pytest.mark.parametrize(
    ("members", "kind", "said"),
    [(3, "comoving", "comoving-ensemble"), (1, "comoving-ensemble", "at least 2")],
)
def test_a_config_without_members_to_draw_is_told_so(members: int, kind: str, said: str):
    config = {"loss": {"members": members}, "model": {"kind": kind}}
    with pytest.raises(ValidationError, match=said):
        PrecipitationSettings.model_validate(config)
