"""Bytes that a run leaves, measured: what it writes is written once, into a temporary folder."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import nn

from nowcast.core.monitoring.log import RunLog
from nowcast.core.monitoring.monitor import Monitor
from nowcast.core.scoring.sums import Sums, save_blocks
from nowcast.core.settings import RunSettings, TrainSettings
from nowcast.core.storage.runs import Run
from nowcast.core.training.average import WeightAverage
from nowcast.core.training.checkpoint import Progress, save_state, save_weights
from nowcast.core.training.length import Length
from nowcast.core.training.task import Compared, Pictured


@dataclass(frozen=True)
class Footprint:
    """Bytes of what runs of one size write.

    Args:
        best: the best weights, with the config.
        last: the state that a run goes on from.
        logged: of each logged step: history and events.
        validated: of each validation: history, and events with pictures.
        scored: the scores of a run and the sums behind them.
    """

    best: int
    last: int
    logged: int
    validated: int
    scored: int

    def of_training(self, train: TrainSettings, length: Length) -> int:
        """What a run has left once it is finished; see `TrainSettings.keep_state`."""
        return self.best + self.last * train.keep_state + self._logs(train, length)

    def of_trial(self, train: TrainSettings, length: Length) -> int:
        """The same of a search's trial, whose best weights are kept or go with its state."""
        return (self.best + self.last) * train.keep_state + self._logs(train, length)

    def _logs(self, train: TrainSettings, length: Length) -> int:
        logged = ceil(length.steps / train.log_every)
        return logged * self.logged + length.validations * self.validated


def footprint(
    task: Compared,
    settings: RunSettings,
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    monitor: Monitor,
    sums: Sums,
    split: str,
) -> Footprint:
    """What a run leaves, from one that has made a few steps.

    Args:
        task: of the run.
        settings: its resolved config.
        model: with some steps behind it, in which the optimiser has come to its state.
        optimiser: of the model.
        monitor: of its MEmeL layers, armed in the last step.
        sums: of the scores of a batch.
        split: that the run will be scored on.
    """
    scores = task.read(sums)
    # Its forecast has the detail of the truth; a network's are smoother, but for its first ones.
    with torch.inference_mode():
        reference = task.baseline(task.reference)
        pictures = task.pictures(reference, "valid") if isinstance(task, Pictured) else {}
    with TemporaryDirectory() as place:
        run = Run(Path(place) / "run")
        run.folder.mkdir()
        config = settings.model_dump(mode="json")
        save_weights(run.best_weights, model, config)
        averaged = settings.train.average
        average = None if averaged is None else WeightAverage(model, averaged).state_dict()
        save_state(run.last_state, model, optimiser, Progress(), monitor.state_dict(), average)
        with _opened(run) as log:
            started = _log_bytes(run)
            log.step(1, {"loss": 1 / 3, "lr": 1 / 3}, dict.fromkeys("abcdef", 1 / 3))
            log.memel(1, monitor.read())
            stepped = _log_bytes(run)
            log.validation(1, scores, pictures, {"objective": 1 / 3, "loss": 1 / 3})
            validated = _log_bytes(run)
        kept = run.folder / "sums.safetensors"
        save_blocks(kept, dict.fromkeys(task.block_names(split), sums))
        return Footprint(
            best=run.best_weights.stat().st_size,
            last=run.last_state.stat().st_size,
            logged=stepped - started,
            validated=validated - stepped,
            scored=kept.stat().st_size + len(str(scores.document())),
        )


@contextmanager
def _opened(run: Run) -> Iterator[RunLog]:
    log = RunLog(run, 0)
    try:
        yield log
    finally:
        log.close()


def _log_bytes(run: Run) -> int:
    """Of history and event files."""
    files = [run.history_file, *run.folder.glob("*tfevents*")]
    return sum(path.stat().st_size for path in files if path.exists())
