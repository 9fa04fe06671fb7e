"""How a search goes on in one process: which point is next, who runs it, when it is given up.

Any number of processes do this side by side. Optuna's GridSampler does not promise that each point
of a grid is tried once then, nor after a kill.
"""

import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from math import inf, isfinite
from pathlib import Path
from typing import TYPE_CHECKING

import filelock

from nowcast.core.errors import TrainingFailed
from nowcast.core.execution.jobs import Build, Resolve
from nowcast.core.settings import RangeSettings, RunSettings, TuneSettings
from nowcast.core.storage.runs import Run
from nowcast.core.system.distributed import Ranks
from nowcast.core.terminal.progress import line
from nowcast.core.training.length import length
from nowcast.core.training.task import Task
from nowcast.core.training.trainer import train
from nowcast.core.tuning.trials import Point, Trials, is_lost, label

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

POLL_SECONDS = 0.5
SAMPLED_TRIES, RANDOM_TRIES = 20, 1000


class _GivenUp(Exception):
    """A trial that is not worth going on with."""


@dataclass(frozen=True)
class Search:
    """What is searched, of which variant, and where; travels to worker processes.

    Args:
        variant: its name.
        tune: space, sampler and seed, which is a number here.
        base: dotted overrides of the variant, which those of a point add to.
        resolve: dotted overrides -> the config with them.
        build: settings, and a task to share data with -> the task.
        folder: of the search; a database apart, all it writes is there.
        url: of the database, or None for a journal in the folder.
    """

    variant: str
    tune: TuneSettings
    base: Mapping[str, object]
    resolve: Resolve
    build: Build
    folder: Path
    url: str | None = None

    @property
    def seed(self) -> int:
        """Of the trials and the sampler."""
        assert self.tune.seed is not None
        return self.tune.seed

    @property
    def lock(self) -> filelock.FileLock:
        """Held by whoever sets the search up or begins a trial, of all processes on the folder."""
        return filelock.FileLock(self.folder.with_name(f"{self.folder.name}.lock"))

    def settings(self, point: Point) -> RunSettings:
        """The config of a point; raises ConfigError where there is none."""
        return self.resolve(dict(self.base) | dict(point))

    def run(self, point: Point) -> Run:
        """The folder of a point's run."""
        return Run(self.folder / "trials" / label(point))


@dataclass
class Searcher:
    """One process of a search.

    Args:
        search: what it does.
        trials: the study.
        ranks: of this process: which GPU is its own.
    """

    search: Search
    trials: Trials
    ranks: Ranks = field(default_factory=Ranks)
    _task: Task | None = None

    def work(self) -> None:
        """Run trials until none is left, here or elsewhere.

        Raises:
            Interrupted: a signal came; the same search goes on.
            NowcastError: as `trainer.train` does, but for TrainingFailed, which ends one trial.
        """
        waiting, waited_for = ExitStack(), 0
        with waiting:
            while True:
                self.trials.drop_silent()
                with self._claimed() as trial:
                    if trial is not None:
                        waiting.close()
                        waited_for = 0
                        with self.trials.running(trial.number):
                            self._run(trial)
                if trial is not None or self._add():
                    continue
                # Read again: another process may have begun the last trial in the meantime.
                count = len(self.trials.unfinished())
                if count == 0:
                    return
                if count != waited_for:
                    waiting.close()
                    text = f"waiting for others, which try {count} settings"
                    waiting.enter_context(line(text))
                    waited_for = count
                time.sleep(POLL_SECONDS)

    @contextmanager
    def _claimed(self) -> Iterator["FrozenTrial | None"]:
        """A trial that this process may run, for as long as the block; None if there is none."""
        for trial in self.trials.unfinished():
            folder = self.search.run(self.trials.point(trial)).folder
            folder.parent.mkdir(parents=True, exist_ok=True)
            lock = filelock.FileLock(folder.with_name(f"{folder.name}.lock"))
            try:
                lock.acquire(timeout=0)
            except filelock.Timeout:
                continue
            try:
                if self.trials.begin(trial.number):
                    yield trial
                    return
            finally:
                lock.release()
        yield None

    def _add(self) -> bool:
        """Add the next trial, for any process to run; False if there is none."""
        with self.search.lock:
            trials = self.trials.all()
            lost = [self.trials.point(trial) for trial in trials if is_lost(trial)]
            point = lost[0] if lost else self._next({self.trials.label(one) for one in trials})
            if point is not None:
                self.trials.add(point)
        return point is not None

    def _next(self, tried: set[str]) -> Point | None:
        tune = self.search.tune
        if tune.sampler == "grid":
            return next((point for point in grid(tune) if label(point) not in tried), None)
        assert tune.trials is not None
        if len(tried) >= tune.trials:
            return None
        for attempt in range(SAMPLED_TRIES + RANDOM_TRIES):
            # The sampler may insist on what it has seen; chance does not.
            sampler = tune.sampler if attempt < SAMPLED_TRIES else "random"
            point = self.trials.draw(sampler, self.search.seed, len(tried), attempt)
            if label(point) not in tried:
                return point
        return None

    def _run(self, trial: "FrozenTrial") -> None:
        """Train a trial's run from wherever it stands, and say what became of it."""
        from optuna.trial import TrialState

        number, point = trial.number, self.trials.point(trial)
        settings, run = self.search.settings(point), self.search.run(point)

        def follow(step: int, objective: float) -> None:
            self._report(number, step, objective)
            worth_asking = self.search.tune.prune and step < steps
            if worth_asking and self.trials.is_hopeless(number, steps):
                raise _GivenUp

        self._task = self.search.build(settings, self._task)
        steps = length(settings.train, self._task).steps
        title = f"{self.search.variant} {label(point)}"
        objective = None
        try:
            # A kill may have come between a validation and what the study was to hear of it.
            validations = _validations(run, self._task.objective)
            for earlier in validations[:-1]:
                self._report(number, *earlier)
            for last in validations[-1:]:
                follow(*last)
            train(self._task, settings, run, self.ranks, title, follow)
            state, objective = TrialState.COMPLETE, float(run.result()["best_objective"])
            self.trials.note(number, best_step=run.result()["best_step"])
        except _GivenUp:
            state = TrialState.PRUNED
        except TrainingFailed as error:
            state = TrialState.FAIL
            self.trials.note(number, error=str(error))
        history = run.history()
        self.trials.note(number, steps=history[-1]["step"] if history else 0)
        self.trials.finish(number, state, objective)
        if not settings.train.keep_state:
            for file in (run.best_weights, run.last_state):
                file.unlink(missing_ok=True)

    def _report(self, number: int, step: int, objective: float) -> None:
        if isfinite(objective):  # an undefined one is no ground to compare trials on
            self.trials.report(number, step, objective)


def grid(tune: TuneSettings) -> list[Point]:
    """All points of a space of choices, the last key's running fastest."""
    choices = [() if isinstance(s, RangeSettings) else s for s in tune.space.values()]
    return [dict(zip(tune.space, values, strict=True)) for values in itertools.product(*choices)]


def _validations(run: Run, names: Sequence[str]) -> list[tuple[int, float]]:
    """Step and objective of the validations in a run's history."""
    validations = []
    for entry in run.history():
        if "valid" in entry:
            parts = [entry["valid"][name] for name in names]
            validations.append((entry["step"], inf if None in parts else float(sum(parts))))
    return validations
