"""The rate is a function of the step; gradients are clipped as asked."""

import pytest
import torch

from nowcast.core.settings import OptimSettings
from nowcast.core.training.optim import clip, optimiser, rate


def test_the_rate_falls_by_steps_and_can_stay():
    settings = OptimSettings(lr=1e-4, decay_every=5000, decay_factor=0.7)
    assert rate(0, settings) == rate(4999, settings) == 1e-4
    assert rate(5000, settings) == pytest.approx(0.7e-4)
    # The paper fine-tunes at the rate its schedule ended on, 2.4e-5.
    assert rate(20_000, settings) == pytest.approx(2.4e-5, rel=1e-2)
    assert rate(10**6, OptimSettings(decay_every=None)) == 1e-4


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (OptimSettings(clip="value", clip_at=2.0), [2.0, -2.0]),
        (OptimSettings(clip="norm", clip_at=2.5), [1.5, -2.0]),
        (OptimSettings(clip=None), [3.0, -4.0]),
    ],
)
def test_clipping(settings: OptimSettings, expected: list[float]):
    model = torch.nn.Linear(2, 1, bias=False)
    model.weight.grad = torch.tensor([[3.0, -4.0]])
    clip(model, settings)
    torch.testing.assert_close(model.weight.grad, torch.tensor([expected]))


def test_frozen_parameters_are_left_out():
    model = torch.nn.Linear(2, 1)
    model.bias.requires_grad_(False)
    groups = optimiser(model, OptimSettings()).param_groups
    assert [parameter is model.weight for parameter in groups[0]["params"]] == [True]
