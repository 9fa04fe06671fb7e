"""The step that is timed: it learns, with all MEmeL layers at work, and ranks share its batch."""

import pytest
import torch
from torch import nn

from nowcast.core.memel.layer import MEmeL
from nowcast.core.system.distributed import Ranks
from nowcast.precipitation.forecasters.encoder_forecaster import EncoderForecaster, Stage
from scripts.bench import step

STAGES = [Stage(channels=2, hidden=2, kernel=3, down=(3, 2, 1), up=(4, 2, 1))] * 2


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch) -> list[nn.Module]:
    """Those that are made."""
    made: list[nn.Module] = []

    def make(*args: object) -> nn.Module:
        made.append(EncoderForecaster(*args))
        return made[-1]

    monkeypatch.setattr(step, "EncoderForecaster", make)
    return made


@pytest.mark.parametrize("bf16", [False, True])
def test_a_step_learns_while_every_layer_inhibits(models: list[nn.Module], bf16: bool):
    take = step.training_step(2, 3, 8, bf16, STAGES)
    (model,) = models
    layers = [module for module in model.modules() if isinstance(module, MEmeL)]
    assert len(layers) == 4
    assert all(layer.num_batches_tracked >= layer.late_start for layer in layers)
    before = {name: value.clone() for name, value in model.named_parameters()}
    seen = [int(layer.num_batches_tracked) for layer in layers]
    take()
    assert [int(layer.num_batches_tracked) - 3 for layer in layers] == seen
    still = {name for name, value in model.named_parameters() if torch.equal(value, before[name])}
    assert all(not model.get_parameter(name).requires_grad for name in still)


def test_ranks_share_the_batch(models: list[nn.Module]):
    seen: list[torch.Tensor] = []
    for ranks in (Ranks(0, 1), Ranks(0, 2), Ranks(1, 2)):
        take = step.training_step(4, 2, 8, False, STAGES, ranks)
        models[-1].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        take()
    whole, *shares = seen
    assert torch.equal(torch.stack(shares, dim=1).flatten(0, 1), whole)
