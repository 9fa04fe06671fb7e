"""Whoever puts a model into evaluation mode puts it back, also where the scoring fails."""

import ast
from pathlib import Path

import pytest
import torch
from torch import nn

import nowcast
from nowcast.core.audit.ablation import audit_neurons
from nowcast.core.audit.inhibition import audit_inhibition
from nowcast.core.memel.modes import evaluating, in_mode
from nowcast.core.memel.plug import plug_in
from nowcast.core.settings import RunSettings
from nowcast.core.system.distributed import Ranks
from nowcast.core.training.evaluate import evaluate, evaluate_blocks
from nowcast.precipitation.clips.batch import RadarBatch
from nowcast.precipitation.pictures.reel import forecast
from tests.core.toy import ToyTask

CPU = torch.device("cpu")
# Models that a function has made itself and gives away in evaluation mode.
OWN = {
    "api/forecasters.py",
    "precipitation/forecasting/forecast.py",
    "precipitation/forecasting/trained.py",
}


class Fails(Exception):
    pass


class Model(nn.Module):
    """A part is frozen in evaluation mode, as fine-tuning does with normalisations."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Identity()
        self.normal = nn.BatchNorm1d(1)
        self.normal.eval()
        self.at_work: list[bool] = []

    def forward(self, *_: torch.Tensor) -> torch.Tensor:
        self.at_work += [self.training]
        raise Fails


def modes(model: nn.Module) -> list[bool]:
    return [module.training for module in model.modules()]


def batch() -> RadarBatch:
    levels = torch.zeros(1, 3, 1, 8, 8, dtype=torch.uint8)
    times = torch.arange(3)[None]
    return RadarBatch(levels, torch.ones_like(levels, dtype=torch.bool), times, times < 0, 2)


TASK = ToyTask(RunSettings(task="toy"))
FAILING = {
    "evaluate": lambda model: evaluate(TASK, model, "valid", Ranks(), CPU),
    "evaluate_blocks": lambda model: evaluate_blocks(
        TASK, model, "valid", Ranks(), CPU, full=False
    ),
    "reel": lambda model: forecast(model, batch()),
    "audit_neurons": lambda model: audit_neurons(
        model, ["hidden"], lambda: [0], lambda model, sample: model(sample), str
    ),
    "plug_in": lambda model: plug_in(model, "hidden", dry_run=lambda model: model()),
    "audit_inhibition": lambda model: audit_inhibition(
        model, [0], lambda model, sample: model(sample), lambda model: None
    ),
}


@pytest.mark.parametrize("who", FAILING)
def test_after_a_failure_a_model_is_in_the_mode_it_was_in(who: str):
    model = Model()
    if who == "audit_inhibition":
        plug_in(model, "hidden")
    before = {type(module): module.training for module in model.modules()}
    with pytest.raises(Fails):
        FAILING[who](model)
    assert model.at_work == [False]
    assert model.training and not model.normal.training
    assert all(before.get(type(m), True) == m.training for m in model.modules())


def test_each_part_is_put_back_into_its_own_mode():
    model = Model()
    before = modes(model)
    with in_mode(model, training=True):
        assert modes(model) == [True, True, True]
    with evaluating(model):
        assert modes(model) == [False, False, False]
        assert torch.is_inference_mode_enabled()
    assert modes(model) == before == [True, True, False]


def test_nobody_else_calls_eval():
    root = Path(nowcast.__file__).parent
    callers = {
        path.relative_to(root).as_posix()
        for path in root.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "eval"
        and not node.args
    }
    assert callers <= OWN
