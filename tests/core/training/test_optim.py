"""The rate is a function of the step; gradients are clipped as asked."""

import pytest
import torch

from nowcast.core.settings import OptimSettings
from nowcast.core.training.optim import clip, optimiser, rate


def test_the_rate_falls_by_steps_and_can_stay():
    settings = OptimSettings(lr=1e-4, decay_every=5000, decay_factor=0.7)
    assert rate(0, settings, 20_001) == rate(4999, settings, 20_001) == 1e-4
    assert rate(5000, settings, 20_001) == pytest.approx(0.7e-4)
    # The paper fine-tunes at the rate its schedule ended on, 2.4e-5.
    assert rate(20_000, settings, 20_001) == pytest.approx(2.4e-5, rel=1e-2)
    assert rate(10**6, OptimSettings(decay_every=None), 10**7) == 1e-4


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_warm_up_and_decay_are_those_of_transformers(schedule: str):
    transformers = pytest.importorskip("transformers")
    of_schedule = getattr(transformers, f"get_{schedule}_schedule_with_warmup")
    other = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=5e-5)
    scheduler = of_schedule(other, num_warmup_steps=7, num_training_steps=75)
    settings = OptimSettings(lr=5e-5, schedule=schedule, warm_up=0.1)
    for step in range(75):
        assert rate(step, settings, 75) == pytest.approx(scheduler.get_last_lr()[0], abs=1e-12)
        other.step()
        scheduler.step()


def test_the_rate_begins_and_ends_where_it_is_told():
    settings = OptimSettings(lr=1.0, schedule="cosine", warm_up=0.5, lr_start=0.2, lr_end=0.1)
    rates = [rate(step, settings, 8) for step in range(9)]
    assert rates[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert rates[6] == pytest.approx(0.55) and rates[8] == pytest.approx(0.1)


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


def test_weight_decay_can_spare_biases_and_normalisations():
    model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.LayerNorm(3))
    settings = OptimSettings(name="adamw", weight_decay=0.01, weight_decay_on="matrices")
    decayed, spared = optimiser(model, settings).param_groups
    assert [p is model[0].weight for p in decayed["params"]] == [True]
    assert (decayed["weight_decay"], spared["weight_decay"]) == (0.01, 0.0)
    assert len(spared["params"]) == 3
