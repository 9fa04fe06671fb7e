"""Where a process computes and how exactly, on a machine that plays one with GPUs."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest
import torch
from safetensors.torch import load_file

from nowcast.core.errors import ConfigError
from nowcast.core.settings import RunSettings, TrainSettings
from nowcast.core.storage.runs import Run
from nowcast.core.system.devices import (
    CPU,
    arithmetic,
    device_name,
    nearest_device,
    pick_device,
    uses_cuda,
)
from nowcast.core.system.distributed import Ranks
from nowcast.core.system.machine import usable_cpus, when_and_where
from nowcast.core.training import trainer
from nowcast.core.training.evaluate import evaluate
from nowcast.core.training.trainer import train
from tests.core.toy import ToyTask

Gpus = Callable[[int], list[torch.device]]


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> Gpus:
    """Plays a machine with so many GPUs; returns those that a process makes its own."""

    def play(count: int) -> list[torch.device]:
        chosen: list[torch.device] = []
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
        return chosen

    return play


@pytest.mark.parametrize(("count", "local", "index"), [(4, 3, 3), (1, 3, 0), (2, 5, 1)])
def test_ranks_of_a_machine_take_the_gpus_that_they_see_in_turn(
    gpus: Gpus, count: int, local: int, index: int
):
    chosen = gpus(count)
    device = pick_device("auto", Ranks(7, 16, local))
    assert device == torch.device("cuda", index)
    assert chosen == [device]


def test_a_cpu_is_picked_without_a_look_at_cuda(monkeypatch: pytest.MonkeyPatch):
    def asked() -> NoReturn:
        raise AssertionError("CUDA was asked")

    monkeypatch.setattr(torch.cuda, "is_available", asked)
    assert pick_device("cpu", Ranks()) == CPU
    assert not uses_cuda("cpu")
    assert device_name(CPU) == "cpu"


def test_cuda_that_is_not_there_is_refused_and_auto_takes_the_cpu(gpus: Gpus):
    gpus(0)
    assert pick_device("auto", Ranks()) == CPU
    with pytest.raises(ConfigError, match="torch finds no GPU; use auto or cpu"):
        pick_device("cuda", Ranks())
    assert nearest_device("cuda", Ranks()) == CPU
    gpus(2)
    assert nearest_device("auto", Ranks()) == torch.device("cuda", 0)


def kinds() -> list[str]:
    backends = torch.backends
    found = (backends.cudnn.conv, backends.cudnn.rnn, backends.cuda.matmul)
    return [kind.fp32_precision for kind in found]


@pytest.mark.parametrize(
    ("precision", "expected"), [("fp32", "ieee"), ("tf32", "tf32"), ("bf16", "ieee")]
)
def test_float32_is_ieees_unless_tf32_is_asked_for(precision: str, expected: str):
    before, flags = kinds(), torch.backends.cudnn.deterministic
    assert "tf32" in before  # torch's own default, for convolutions
    with arithmetic(precision):
        assert kinds() == [expected] * 3
        assert torch.backends.cudnn.deterministic
        with arithmetic():
            assert kinds() == ["ieee"] * 3
        assert kinds() == [expected] * 3
    assert kinds() == before
    assert torch.backends.cudnn.deterministic == flags


def settings(**changes: object) -> RunSettings:
    of = {"steps": 6, "batch_size": 4, "validate_every": 3, "log_every": 3} | changes
    return RunSettings(task="toy", train=TrainSettings.model_validate(of))


def test_a_run_trains_as_its_precision_says_and_is_scored_in_float32(tmp_path: Path):
    seen: dict[str, set[str]] = {"loss": set(), "score": set()}

    class Watched(ToyTask):
        def loss(self, model, batch):
            seen["loss"].update(kinds())
            return super().loss(model, batch)

        def score(self, model, batch):
            seen["score"].update(kinds())
            return super().score(model, batch)

    chosen = settings(precision="tf32")
    train(Watched(chosen), chosen, Run(tmp_path / "run"), Ranks())
    assert seen == {"loss": {"tf32"}, "score": {"ieee"}}
    evaluate(Watched(chosen), ToyTask(chosen).model(), "valid", Ranks(), CPU)
    assert seen["score"] == {"ieee"}


def test_tf32_on_a_cpu_is_fp32(tmp_path: Path):
    weights = []
    for precision in ("fp32", "tf32"):
        chosen, run = settings(precision=precision), Run(tmp_path / precision)
        train(ToyTask(chosen), chosen, run, Ranks())
        weights.append(load_file(run.best_weights))
        assert run.config()["train"]["precision"] == precision
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_a_run_goes_on_where_it_began_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    class Stopped(Exception):
        pass

    def stop(step: int, objective: float) -> None:
        raise Stopped

    chosen, run = settings(), Run(tmp_path / "run")
    with pytest.raises(Stopped):
        train(ToyTask(chosen), chosen, run, Ranks(), after_validation=stop)
    assert run.origin()["devices"] == ["cpu"]
    monkeypatch.setattr(trainer, "device_name", lambda device: "NVIDIA H200")
    with pytest.raises(ConfigError, match="begun on cpu and this is NVIDIA H200") as refused:
        train(ToyTask(chosen), chosen, run, Ranks())
    assert "train.accept_device=true" in str(refused.value)
    accepting = settings(accept_device=True)
    train(ToyTask(accepting), accepting, run, Ranks())
    assert run.origin()["devices"] == ["cpu", "NVIDIA H200"]
    monkeypatch.setattr(trainer, "device_name", lambda device: "another")
    train(ToyTask(chosen), chosen, run, Ranks())  # finished: nothing is trained
    assert run.is_finished


def test_a_run_on_a_cpu_leaves_the_gpus_of_its_machine_alone(
    tmp_path: Path, gpus: Gpus, monkeypatch: pytest.MonkeyPatch
):
    def opened(*_: object) -> NoReturn:
        raise AssertionError("CUDA was opened")

    chosen = gpus(2)
    monkeypatch.setattr(torch.cuda, "_lazy_init", opened)
    # What an optimiser asks, without opening CUDA; it needs the driver of a real GPU.
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    of = settings(device="cpu")
    train(ToyTask(of), of, Run(tmp_path / "run"), Ranks())
    assert "CPU thread" in when_and_where()["machine"]
    assert chosen == []


@pytest.mark.parametrize(
    ("files", "allowed", "found"),
    [
        ({}, 6, 6),
        ({"cpu.max": "max 100000\n"}, 6, 6),
        ({"cpu.max": "250000 100000\n"}, 6, 3),
        ({"cpu.max": "800000 100000\n"}, 6, 6),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 6, 6),
        ({"cpu/cpu.cfs_quota_us": "50000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 6, 1),
    ],
)
def test_processors_are_those_that_the_process_may_use(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    files: dict[str, str],
    allowed: int,
    found: int,
):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    mine = set(range(allowed))
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: mine, raising=False)
    assert usable_cpus(tmp_path) == found
