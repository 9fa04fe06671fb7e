"""A run that is killed again and again ends as one that was left alone: to the bit."""

import multiprocessing
import os
import random
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from nowcast.core.execution.jobs import Job, complete
from nowcast.core.execution.signals import Interrupted
from nowcast.core.settings import MEmeLSettings, OptimSettings, RunSettings, TrainSettings
from nowcast.core.storage.runs import Run
from nowcast.core.system.distributed import Ranks
from tests.core.monitoring.reading import points, watching
from tests.core.toy import ToyBatch, ToyTask


def settings(steps: int) -> RunSettings:
    return RunSettings(
        task="toy",
        train=TrainSettings(steps=steps, batch_size=8, validate_every=7, log_every=2),
        optim=OptimSettings(lr=0.02, decay_every=50),
        memel=MEmeLSettings(late_start=3, forget_steps=5),
    )


class Mortal(ToyTask):
    """Is sent a signal at some moment soon after some step."""

    rng, number = random.Random(0), signal.SIGKILL

    def training_batches(self, start: int, ranks: Ranks) -> Iterator[ToyBatch]:
        fatal = start + self.rng.randint(0, 20)
        for step, batch in enumerate(super().training_batches(start, ranks), start=start):
            if step == fatal:
                delay = self.rng.uniform(0, 0.03)  # a validation with all it saves takes as long
                threading.Timer(delay, os.kill, (os.getpid(), self.number)).start()
            yield batch


def run_job(folder: Path, steps: int, life: int | None = None) -> None:
    torch.set_num_threads(1)
    chosen = settings(steps)
    task = ToyTask(chosen)
    if life is not None:
        task = Mortal(chosen)
        task.rng = random.Random(life)
        task.number = signal.SIGTERM if life % 5 == 0 else signal.SIGKILL
    try:
        complete(Job("toy", 0, chosen, Run(folder)), task, "test", Ranks())
    except Interrupted:
        os._exit(3)


@pytest.mark.parametrize(
    ("kills", "steps"), [(6, 300), pytest.param(30, 1000, marks=pytest.mark.slow)]
)
def test_kills_at_any_moment_change_nothing(tmp_path: Path, kills: int, steps: int):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    run_job(whole, steps)
    context = multiprocessing.get_context("forkserver")
    ends, starts = [], []
    for life in range(kills):
        process = context.Process(target=run_job, args=(killed, steps, life))
        process.start()
        process.join()
        ends.append(process.exitcode)
        last = Run(killed).last_state
        if last.is_file():  # never half written
            starts.append(torch.load(last, weights_only=True)["progress"]["step"])
    assert set(ends) == {-signal.SIGKILL, 3}  # killed, or told to stop
    assert starts == sorted(starts) and len(set(starts)) > kills // 3 and starts[-1] < steps
    run_job(killed, steps)
    one, other = (torch.load(Run(f).last_state, weights_only=True) for f in (whole, killed))
    assert one["model"].keys() == other["model"].keys()
    assert all(torch.equal(one["model"][name], other["model"][name]) for name in one["model"])
    assert one["progress"] == other["progress"]
    for name in ("best.safetensors", "history.jsonl", "scores_test.json", "sums_test.safetensors"):
        assert (whole / name).read_bytes() == (killed / name).read_bytes(), name
    assert points(watching(whole)) == points(watching(killed))
    assert not list(killed.glob(".*.tmp"))
