"""The motion of a batch is estimated where it is read, and is what the forecaster would see."""

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nowcast.core.errors import RunError
from nowcast.core.system import shared_memory
from nowcast.core.system.distributed import Ranks
from nowcast.precipitation.forecasters.comoving import network
from nowcast.precipitation.forecasters.comoving.forecaster import Comoving
from nowcast.precipitation.forecasters.comoving.network import Widths
from nowcast.precipitation.forecasters.flow import extrapolation
from nowcast.precipitation.settings import PrecipitationSettings
from nowcast.precipitation.task import PrecipitationTask

WIDTHS = {"stem": 3, "hidden": (4, 5), "guide": 4, "head": 6, "pixel": 6}
STAGES = [
    {"channels": 3, "hidden": 4, "kernel": 3, "down": [3, 2, 1], "up": [4, 2, 1]},
    {"channels": 4, "hidden": 5, "kernel": 3, "down": [3, 2, 1], "up": [4, 2, 1]},
]
KINDS = {
    "comoving": {"kind": "comoving", **WIDTHS},
    "lagrangian": {"kind": "lagrangian", "stages": STAGES},
    "members": {"kind": "comoving-ensemble", "members": 2, **WIDTHS},
    "none": {"kind": "convgru", "stages": STAGES},
}


def task(root: Path, kind: str, workers: int = 0) -> PrecipitationTask:
    content: dict[str, Any] = {
        "data": {
            "root": str(root),
            "in_len": 4,
            "out_len": 2,
            "stride": 40,
            "random_crop": (32, 32),
        },
        "model": KINDS[kind],
        "train": {"batch_size": 2, "workers": workers},
        "loss": {"members": 2 * (kind == "members")},
    }
    return PrecipitationTask(PrecipitationSettings.model_validate(content))


@pytest.mark.parametrize("kind", ["comoving", "lagrangian", "members"])
def test_loss_and_scores_are_the_same_to_the_bit(
    synthetic: Path, monkeypatch: pytest.MonkeyPatch, kind: str
):
    made = task(synthetic, kind)
    torch.manual_seed(0)
    model = made.model()
    for weight in model.parameters():  # zero at first, so that motion would not be seen in them
        torch.nn.init.normal_(weight, std=0.1)
    training = next(made.training_batches(0, Ranks()))
    scored = next(made.evaluation_batches("test", Ranks()))
    assert training.motion is not None and bool(training.motion.abs().max() > 0.1)
    found = []
    for change in ({"motion": None}, {}):
        if not change:  # nothing is estimated any more
            monkeypatch.setattr(extrapolation, "motion_field", None)
        batch, test = (replace(one, **change) for one in (training, scored))
        torch.manual_seed(1)
        model.zero_grad()
        loss = made.loss(model, batch)
        loss.backward()
        gradients = [
            weight.grad.clone() for weight in model.parameters() if weight.grad is not None
        ]
        sums = {} if kind == "members" else made.score(model, test).values
        found.append((loss.detach(), gradients, sums))
    (one, its, sums), (other, others, same) = found
    assert torch.equal(one, other)
    assert all(torch.equal(a, b) for a, b in zip(its, others, strict=True))
    assert all(np.array_equal(sums[name], same[name], equal_nan=True) for name in sums)


def test_workers_bring_the_same_motion(synthetic: Path):
    here, there = (
        next(task(synthetic, "comoving", n).training_batches(0, Ranks())) for n in (0, 1)
    )
    assert here.motion is not None and there.motion is not None
    assert torch.equal(here.levels, there.levels) and torch.equal(here.motion, there.motion)
    assert torch.equal(here.take(torch.tensor([1]).numpy()).motion, here.motion[1:])
    assert here.to(torch.device("meta")).motion.device.type == "meta"


def test_who_takes_no_motion_gets_none(synthetic: Path):
    assert next(task(synthetic, "none").training_batches(0, Ranks())).motion is None


def test_the_motion_has_room_in_shared_memory(synthetic: Path, monkeypatch: pytest.MonkeyPatch):
    asked: list[tuple[int, ...]] = []

    def check(workers: int, *sizes: int) -> None:
        asked.append(sizes)
        raise RunError("seen")

    monkeypatch.setattr("nowcast.precipitation.clips.loader.check_shared_memory", check)
    assert shared_memory.check_shared_memory is not check
    for kind in ("none", "comoving"):
        with pytest.raises(RunError, match="seen"):
            task(synthetic, kind, 1).training_batches(0, Ranks())
    plain, moving = (sizes[0] for sizes in asked)
    assert moving - plain >= 2 * 2 * 32 * 32 * 4  # two clips of two float32 a pixel


def test_with_its_motion_a_forecast_asks_a_device_for_nothing(monkeypatch: pytest.MonkeyPatch):
    """On the device meta there are no values: whatever needs one on the host fails."""

    def refused(*_: object, **__: object) -> None:
        raise AssertionError("a list of numbers would travel to the device")

    model = Comoving(2, None, Widths.model_validate(WIDTHS)).to("meta")
    frames = torch.empty(2, 4, 1, 32, 32, device="meta")
    mask = torch.empty(2, 4, 1, 32, 32, dtype=torch.bool, device="meta")
    monkeypatch.setattr(network, "float32", lambda device: nullcontext())  # meta has no autocast
    monkeypatch.setattr(torch, "tensor", refused)
    motion = torch.empty(2, 2, 32, 32, device="meta")
    assert model(frames, mask, motion).shape == (2, 2, 1, 32, 32)
