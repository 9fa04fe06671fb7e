"""A run stops at the first loss that is no number, and where the disk is full; nothing is lost."""

import resource
import shutil
import signal
import subprocess
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from nowcast.core.errors import RunError
from nowcast.core.settings import OptimSettings, RunSettings, TrainSettings
from nowcast.core.storage.runs import Run
from nowcast.core.system.distributed import Ranks
from nowcast.core.training import guards
from nowcast.core.training.guards import LossFailure, LossGuard, bytes_needed, check_disk
from nowcast.core.training.trainer import train
from tests.core.toy import ToyBatch, ToyTask


def settings(**changes) -> RunSettings:
    limits = {"steps": 20, "batch_size": 2, "validate_every": 5, "log_every": 4}
    return RunSettings(
        task="toy", train=TrainSettings(**(limits | changes)), optim=OptimSettings(lr=0.02)
    )


class FailsAt(ToyTask):
    """Multiplies the loss of one step."""

    step, factor = 12, float("nan")

    def training_batches(self, start: int, ranks: Ranks) -> Iterator[ToyBatch]:
        for number, batch in enumerate(super().training_batches(start, ranks), start=start):
            self.now = number
            yield batch

    def loss(self, model, batch):
        loss = super().loss(model, batch)
        return loss * self.factor if self.now == self.step and model.training else loss


def test_the_step_and_its_samples_are_named_though_nobody_looked_then(tmp_path: Path):
    run, task = Run(tmp_path / "run"), FailsAt(settings())
    with pytest.raises(RunError) as caught:
        train(task, settings(), run, Ranks())
    wrong = next(ToyTask(settings()).training_batches(12, Ranks()))
    assert f"at step 13, samples {', '.join(wrong.names())}" in str(caught.value)
    assert "The last good state is last.pt" in str(caught.value)
    kept = torch.load(run.last_state, weights_only=True)
    assert kept["progress"]["step"] == 10
    assert all(torch.isfinite(tensor).all() for tensor in kept["model"].values())
    failed = torch.load(run.failed_state, weights_only=True)
    assert failed["progress"]["step"] == 15  # it was looked at before the validation
    assert any(torch.isnan(tensor).any() for tensor in failed["model"].values())
    assert not run.is_finished


def test_an_explosion_stops_and_a_user_can_say_that_it_is_none(tmp_path: Path):
    task = FailsAt(settings(log_every=1))
    task.factor = 1e9
    with pytest.raises(RunError, match=r"more than 100 times the highest before.* at step 13, "):
        train(task, settings(log_every=1), Run(tmp_path / "run"), Ranks())
    calm = settings(log_every=1, explosion_factor=None)
    train(task, calm, Run(tmp_path / "run"), Ranks())
    assert Run(tmp_path / "run").is_finished


def test_weights_that_are_no_numbers_are_not_saved_as_good(tmp_path: Path):
    class Breaks(FailsAt):
        """A gradient that is no number under a loss that is one."""

        def loss(self, model, batch):
            loss = ToyTask.loss(self, model, batch)
            if self.now == 9:
                model.last.bias.register_hook(lambda gradient: gradient * float("nan"))
            return loss

    run = Run(tmp_path / "run")
    with pytest.raises(RunError, match="the weights after it are not, at step 10"):
        train(Breaks(settings()), settings(), run, Ranks())
    assert torch.load(run.last_state, weights_only=True)["progress"]["step"] == 5


@pytest.mark.filterwarnings("ignore:Anomaly Detection", "ignore:Error detected in")
def test_detect_anomaly_names_the_operation(tmp_path: Path):
    class Breaks(FailsAt):
        def loss(self, model, batch):
            loss = ToyTask.loss(self, model, batch)
            return loss + (0 * loss).sqrt() if self.now == 7 and model.training else loss

    chosen = settings(detect_anomaly=True)
    with pytest.raises(RunError, match=r"MulBackward0.* at step 8, samples x="):
        train(Breaks(chosen), chosen, Run(tmp_path / "run"), Ranks())


def test_a_guard_keeps_the_first_failure():
    guard = LossGuard(Ranks(), torch.device("cpu"), None)
    for step, loss in enumerate([1.0, 2.0, float("inf"), float("nan")]):
        guard.add(torch.tensor(loss), step)
    with pytest.raises(LossFailure) as caught:
        guard.read()
    assert caught.value.step == 2
    calm = LossGuard(Ranks(), torch.device("cpu"), None)
    calm.add(torch.tensor(2.5), 0)
    assert calm.read() == 2.5


def test_a_run_that_the_disk_has_no_room_for_is_not_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    needed = bytes_needed(nn.Linear(9, 10))
    assert needed == 6 * 4 * 100
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(9e9, 0, needed - 1))
    with pytest.raises(RunError, match=r"expected 2\.4 kB of free disk for weights, found 2\.4 kB"):
        check_disk(tmp_path / "not" / "yet", needed, "weights")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(9e9, 0, needed))
    check_disk(tmp_path, needed, "weights")
    monkeypatch.setattr(guards.shutil, "disk_usage", lambda _: usage(9e9, 0, 10))
    with pytest.raises(RunError, match="of free disk for checkpoints, found 10 bytes"):
        train(ToyTask(settings()), settings(), Run(tmp_path / "run"), Ranks())


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "tiny"
    place.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(place)], capture_output=True
    )
    if made.returncode:
        pytest.skip("needs the right to mount a small file system")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_stops_the_run_and_loses_nothing(tiny_disk: Path, tmp_path: Path):
    class Fills(FailsAt):
        """Somebody else fills the disk in the middle of the run."""

        def training_batches(self, start: int, ranks: Ranks) -> Iterator[ToyBatch]:
            for number, batch in enumerate(super().training_batches(start, ranks), start=start):
                if number == 7:
                    free = shutil.disk_usage(tiny_disk).free
                    (tiny_disk / "ballast").write_bytes(bytes(free))
                yield batch

        loss = ToyTask.loss

    run, whole = Run(tiny_disk / "run"), Run(tmp_path / "whole")
    with pytest.raises(RunError, match=r"could not be written.*last\.pt is whole"):
        train(Fills(settings()), settings(), run, Ranks())
    assert torch.load(run.last_state, weights_only=True)["progress"]["step"] == 5
    assert not list(run.folder.glob(".*.tmp"))
    (tiny_disk / "ballast").unlink()
    train(ToyTask(settings()), settings(), run, Ranks())
    train(ToyTask(settings()), settings(), whole, Ranks())
    assert run.best_weights.read_bytes() == whole.best_weights.read_bytes()
    assert run.history() == whole.history()


def test_a_file_that_may_not_grow_is_told_as_such(tmp_path: Path):
    """As a quota does it; a write beyond the limit is an OSError once SIGXFSZ is ignored."""
    run = Run(tmp_path / "run")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1024, before[1]))
        with pytest.raises(RunError, match=r"could not be written \("):
            train(ToyTask(settings()), settings(), run, Ranks())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert not run.last_state.exists()
