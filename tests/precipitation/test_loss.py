"""The training loss: a 2x2 field by hand, and ten lines of numpy on random ones."""

import numpy as np
import pytest
import torch

from nowcast.precipitation.loss import area_loss, balanced_loss, relative_loss
from nowcast.precipitation.settings import PrecipitationSettings
from nowcast.precipitation.units import DWD_ZR_A, DWD_ZR_B, Calibration

pytestmark = pytest.mark.isa

HKO7 = Calibration()


def field(*values: float) -> torch.Tensor:
    return torch.tensor(values).view(1, 1, 1, 2, 2)


def test_a_field_of_four_pixels_by_hand():
    # 0, 3, 12 and 40 mm/h: weights 1, 2, 10, 30.
    truth = torch.from_numpy(HKO7.pixel_from_rate([0.0, 3.0, 12.0, 40.0])).float()
    prediction = truth + torch.tensor([0.5, -0.1, 0.2, -0.3])
    mask = torch.tensor([True, True, True, False])
    loss = balanced_loss(
        *(values.view(1, 1, 1, 2, 2) for values in (prediction, truth, mask)), HKO7
    )
    b_mse = 1 * 0.25 + 2 * 0.01 + 10 * 0.04
    b_mae = 1 * 0.5 + 2 * 0.1 + 10 * 0.2
    assert loss.item() == pytest.approx(5e-5 * (b_mse + b_mae), rel=1e-5)


def test_weights_are_those_of_the_truth_and_not_of_the_prediction():
    mask = torch.ones(1, 1, 1, 2, 2, dtype=torch.bool)
    heavy, dry = field(0.8, 0.8, 0.8, 0.8), field(0.0, 0.0, 0.0, 0.0)
    missed = balanced_loss(dry, heavy, mask, HKO7).item()
    invented = balanced_loss(heavy, dry, mask, HKO7).item()
    assert missed == pytest.approx(30 * invented, rel=1e-5)
    assert invented == pytest.approx(5e-5 * 4 * (0.64 + 0.8), rel=1e-5)


def by_definition(
    prediction: np.ndarray, truth: np.ndarray, mask: np.ndarray, calibration: Calibration
) -> float:
    rate = calibration.rate_from_pixel(truth)
    weights = np.select([rate >= t for t in (30, 10, 5, 2, 0.5)], [30, 10, 5, 2, 1], 1)
    error = prediction - truth
    b_mse = (mask * weights * error**2).sum((2, 3, 4))  # per sequence and lead time
    b_mae = (mask * weights * np.abs(error)).sum((2, 3, 4))
    return 5e-5 * (b_mse.mean(0).mean() + b_mae.mean(0).mean())


@pytest.mark.parametrize("calibration", [HKO7, Calibration(DWD_ZR_A, DWD_ZR_B)])
@pytest.mark.parametrize("seed", range(5))
def test_random_fields_follow_the_definition(seed: int, calibration: Calibration):
    rng = np.random.default_rng(seed)
    prediction, truth = rng.uniform(-0.2, 1.2, (3, 4, 1, 7, 5)), rng.random((3, 4, 1, 7, 5))
    mask = rng.random(truth.shape) < 0.7
    loss = balanced_loss(
        torch.from_numpy(prediction).float(),
        torch.from_numpy(truth).float(),
        torch.from_numpy(mask),
        calibration,
    )
    expected = by_definition(prediction, truth, mask, calibration)
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_masked_pixels_change_neither_the_loss_nor_its_gradient():
    rng = torch.Generator().manual_seed(0)
    truth, other, prediction = torch.rand(3, 2, 3, 1, 6, 6, generator=rng).unbind(0)
    mask = torch.rand(truth.shape, generator=rng) < 0.5
    losses, gradients = [], []
    for values in (truth, truth.where(mask, other)):
        leaf = prediction.clone().requires_grad_()
        loss = balanced_loss(leaf, values, mask, HKO7)
        loss.backward()
        losses.append(loss.item())
        gradients.append(leaf.grad)
    assert losses[0] == losses[1]
    assert torch.equal(gradients[0], gradients[1])
    assert bool((gradients[0] != 0).equal(mask))


def test_half_precision_predictions_are_scored_in_float32():
    rng = torch.Generator().manual_seed(1)
    truth, prediction = torch.rand(2, 1, 2, 1, 8, 8, generator=rng).unbind(0)
    half = prediction.bfloat16()
    mask = torch.rand(truth.shape, generator=rng) < 0.5
    loss = balanced_loss(half, truth, mask, HKO7)
    assert loss.dtype == torch.float32
    assert loss.item() == balanced_loss(half.float(), truth, mask, HKO7).item()


def test_relative_loss_is_one_for_persistence_and_counts_clips_alike():
    generator = torch.Generator().manual_seed(0)
    truth = torch.rand(2, 3, 1, 40, 40, generator=generator)
    truth[1] *= 0.2  # light rain
    last = truth[:, 0].flip(-1)
    mask = torch.ones_like(truth, dtype=torch.bool)
    persistence = last[:, None].expand_as(truth)

    def loss(forecast: torch.Tensor, seen: torch.Tensor = mask) -> float:
        return float(relative_loss(forecast, truth, seen, last, Calibration()))

    assert loss(persistence) == pytest.approx(1, abs=0.03)
    assert loss(truth) == 0
    one = persistence.clone()
    one[0] = truth[0]
    other = persistence.clone()
    other[1] = truth[1]
    assert loss(one) == pytest.approx(0.5, abs=0.03)
    assert loss(other) == pytest.approx(0.5, abs=0.03)
    wrong = truth.clone()
    wrong[..., :5] = 1
    seen = mask.clone()
    seen[..., :5] = False
    assert loss(wrong, seen) == 0
    assert loss(wrong, torch.zeros_like(mask)) == 0


def test_its_logarithm_counts_a_per_cent_alike_in_all_clips():
    truth = torch.full((2, 3, 1, 8, 8), 0.4)
    last = torch.full((2, 1, 8, 8), 0.3)
    last[1] = 0.1  # persistence is worse in the second clip
    seen = torch.ones_like(truth, dtype=torch.bool)

    def loss(*errors: float) -> float:
        wrong = torch.tensor(errors)[:, None, None, None, None]
        prediction = truth + wrong
        return float(relative_loss(prediction, truth, seen, last, Calibration(), logarithm=True))

    assert loss(-0.1, -0.3) == pytest.approx(0.0, abs=1e-6)  # persistence
    assert loss(-0.05, -0.15) < 0
    easier, harder = loss(-0.099, -0.3), loss(-0.1, -0.297)
    assert easier < 0 and easier == pytest.approx(harder, rel=0.15)
    perfect = loss(0.0, 0.0)
    assert -10 < perfect < -2  # the floor keeps it finite


def test_areas_are_right_whatever_lies_where():
    generator = torch.Generator().manual_seed(0)
    truth = torch.rand(1, 3, 1, 32, 32, generator=generator).repeat(2, 1, 1, 1, 1)
    seen = torch.ones_like(truth, dtype=torch.bool)
    seen[..., :4] = False

    def loss(prediction: torch.Tensor) -> float:
        return float(area_loss(prediction, truth, seen, Calibration()))

    assert loss(truth) == pytest.approx(0.0, abs=1e-6)
    assert loss(truth.flip(-2)) == pytest.approx(0.0, abs=1e-6)
    assert loss(truth + 0.05) > 0.01 and loss(truth - 0.05) > 0.01
    hidden = torch.where(seen, truth, 0.9)
    assert loss(hidden) == pytest.approx(0.0, abs=1e-6)
    half = truth.clone()
    half[1] = 0  # half the area at every threshold, in all clips together
    assert loss(half) == pytest.approx(np.log(2) ** 2, rel=0.05)
    late = truth.clone()
    late[:, 2] = 0
    assert loss(late) > loss(half)  # each lead time has its own
    wrong = (truth - 0.05).requires_grad_()
    area_loss(wrong, truth, seen, Calibration()).backward()
    assert wrong.grad is not None and bool((wrong.grad[seen] <= 0).all())


def test_a_logarithm_has_no_explosions():
    content = {"loss": {"relative": "log"}}
    with pytest.raises(ValueError, match=r"train.explosion_factor: null with it, found 100"):
        PrecipitationSettings.model_validate(content)
    PrecipitationSettings.model_validate(content | {"train": {"explosion_factor": None}})
