"""Training on radar, killed thirty times at any moment, ends as if it had been left alone."""

import multiprocessing
import os
import random
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from nowcast.api import config
from nowcast.core.execution.jobs import Job, complete
from nowcast.core.storage.runs import Run
from nowcast.core.system.distributed import Ranks
from nowcast.precipitation.clips.batch import RadarBatch
from nowcast.precipitation.settings import PrecipitationSettings
from nowcast.precipitation.task import PrecipitationTask
from tests import ROOT
from tests.core.monitoring.reading import points, watching

SMOKE = ROOT / "configs" / "precipitation" / "smoke.yaml"
KILLS = 30
CHANGES = {
    "train.steps": 300,
    "train.validate_every": 4,
    "train.log_every": 3,
    "data.random_crop": [48, 48],
    "data.stride": 60,
}


class Mortal(PrecipitationTask):
    """Is killed at some moment soon after some step."""

    rng = random.Random(0)

    def training_batches(self, start: int, ranks: Ranks) -> Iterator[RadarBatch]:
        fatal = start + self.rng.randint(0, 6)
        for step, batch in enumerate(super().training_batches(start, ranks), start=start):
            if step == fatal:
                delay = self.rng.uniform(0, 0.25)
                threading.Timer(delay, os.kill, (os.getpid(), signal.SIGKILL)).start()
            yield batch


def run_job(archive: Path, folder: Path, life: int | None = None) -> None:
    torch.set_num_threads(1)
    content = config.overridden(config.read(SMOKE), CHANGES | {"data.root": str(archive)})
    settings = config.validate(PrecipitationSettings, content, str(SMOKE))
    task = PrecipitationTask(settings)
    if life is not None:
        task = Mortal(settings)
        task.rng = random.Random(life)
    complete(Job("smoke", 0, settings, Run(folder)), task, "test", Ranks())


@pytest.mark.slow
def test_thirty_kills_change_no_weight_no_score_and_no_record(synthetic: Path, tmp_path: Path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    run_job(synthetic, whole)
    context = multiprocessing.get_context("forkserver")
    starts = []
    for life in range(KILLS):
        process = context.Process(target=run_job, args=(synthetic, killed, life))
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        last = Run(killed).last_state
        if last.is_file():
            starts.append(torch.load(last, weights_only=True)["progress"]["step"])
    assert starts == sorted(starts) and len(set(starts)) > 10
    run_job(synthetic, killed)
    one, other = (torch.load(Run(f).last_state, weights_only=True) for f in (whole, killed))
    assert all(torch.equal(one["model"][name], other["model"][name]) for name in one["model"])
    for name in ("best.safetensors", "history.jsonl", "scores_test.json", "sums_test.safetensors"):
        assert (whole / name).read_bytes() == (killed / name).read_bytes(), name
    assert points(watching(whole)) == points(watching(killed))
