"""Runs on a GPU: resumed to the bit, on one rank and on two, and their identity."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from nowcast import registry
from nowcast.api import config
from nowcast.core.storage.runs import Run
from nowcast.core.system.devices import device_name
from nowcast.core.system.distributed import Ranks
from nowcast.core.training.trainer import train
from tests import ROOT
from tests.core.ranks import in_ranks

SMOKE = ROOT / "configs" / "precipitation" / "smoke.yaml"
SMALLER = {
    "data.random_crop": [32, 32],
    "data.in_len": 3,
    "data.out_len": 3,
    "train.steps": 8,
    "train.batch_size": 4,
    "train.validate_every": 4,
    "train.log_every": 1,
    "memel": {"late_start": 2},
}


def trained(
    ranks: Ranks,
    archive: Path,
    folder: Path,
    device: str,
    stop_at: int | None,
    changes: dict[str, Any] | None = None,
) -> Run:
    where = {"data.root": str(archive), "train.device": device}
    content = config.overridden(config.read(SMOKE), SMALLER | where | (changes or {}))
    settings = config.validate(registry.settings_class("precipitation"), content, str(SMOKE))
    run = Run(folder)

    def stop(step: int, objective: float) -> None:
        if step == stop_at:
            raise KeyboardInterrupt

    try:
        train(registry.build(settings), settings, run, ranks, after_validation=stop)
    except KeyboardInterrupt:
        assert stop_at is not None
    return run


def losses(run: Run) -> list[float]:
    return [entry["loss"] for entry in run.history() if "loss" in entry]


def weights(run: Run) -> dict[str, Any]:
    state = torch.load(run.last_state, weights_only=True)["model"]
    return state | load_file(run.best_weights)


def test_a_run_that_was_stopped_ends_as_one_that_was_not(
    gpu: torch.device, synthetic: Path, tmp_path: Path
):
    whole = trained(Ranks(), synthetic, tmp_path / "whole", gpu.type, None)
    trained(Ranks(), synthetic, tmp_path / "parts", gpu.type, 4)
    parts = trained(Ranks(), synthetic, tmp_path / "parts", gpu.type, None)
    assert whole.origin()["devices"] == [device_name(gpu)]
    assert losses(whole) == losses(parts)
    one, other = weights(whole), weights(parts)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_losses_are_those_of_a_cpu(gpu: torch.device, synthetic: Path, tmp_path: Path):
    there = trained(Ranks(), synthetic, tmp_path / "gpu", gpu.type, None)
    here = trained(Ranks(), synthetic, tmp_path / "cpu", "cpu", None)
    assert losses(there)[0] == pytest.approx(losses(here)[0], rel=1e-6)
    assert losses(there) == pytest.approx(losses(here), rel=1e-3)


def test_two_ranks_train_as_one(gpu: torch.device, synthetic: Path, tmp_path: Path):
    if gpu.type == "cuda" and torch.cuda.device_count() < 2:
        pytest.skip("needs two GPUs: NCCL takes one a rank")
    one = trained(Ranks(), synthetic, tmp_path / "one", gpu.type, None)
    two, _ = in_ranks(2, trained, synthetic, tmp_path / "two", gpu.type, None)
    assert losses(two) == pytest.approx(losses(one), rel=1e-3)
