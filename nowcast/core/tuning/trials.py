"""Where a search keeps its trials: an Optuna study in a journal file or a database.

A trial waits, with its point, until a process begins it. A process that dies leaves its trial
running. In the same folder the free lock of the trial shows that; to machines that share only a
database Optuna's heartbeats do, which a journal does not have.
"""

import platform
import warnings
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import filelock
import numpy as np

from nowcast.core.errors import ConfigError
from nowcast.core.settings import Choice, RangeSettings, Searched, TuneSettings

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial, TrialState

Point = Mapping[str, Choice]

PRUNING_NEEDS = 5  # trials that have run to their end
HEARTBEAT_SECONDS, GRACE_SECONDS = 30, 180


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Optuna from logging each trial within the block."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


def experimental() -> AbstractContextManager[object]:
    """Heartbeats are experimental in Optuna, which warns of each use."""
    from optuna.exceptions import ExperimentalWarning

    return warnings.catch_warnings(action="ignore", category=ExperimentalWarning)


def is_lost(trial: "FrozenTrial") -> bool:
    """Whether a trial ended because its process did, not by a failure of its training."""
    return trial.state.name == "FAIL" and "error" not in trial.user_attrs


def label(point: Point) -> str:
    """A point in one word that is also a file's name, e.g. ``memel.top_k=1,memel.delta=5``."""
    return quote(",".join(f"{key}={value}" for key, value in point.items()), safe="=, -+")


class Trials:
    """The trials of one search.

    Args:
        name: of the study.
        tune: the search's settings.
        folder: of the journal, where there is no database.
        url: of the database.

    Raises:
        ConfigError: the database cannot be used.
    """

    def __init__(self, name: str, tune: TuneSettings, folder: Path, url: str | None) -> None:
        # Here and below: optuna is imported by those who search, not by all who read a result.
        import optuna

        self.tune = tune
        # Whose locks are seen from here; a journal is read where it lies.
        self._place = "" if url is None else f"{platform.node()}:{folder.resolve()}"
        self._storage = _journal(folder / "journal.log") if url is None else _database(url)
        self._study = optuna.create_study(
            study_name=name, storage=self._storage, load_if_exists=True, direction="minimize"
        )
        self._id = self._storage.get_study_id_from_name(name)

    def all(self) -> list["FrozenTrial"]:
        """One trial a point, the first that is not lost, in the order of the points."""
        current: dict[str, FrozenTrial] = {}
        for trial in self._study.get_trials(deepcopy=False):
            point = self.label(trial)
            if point not in current or is_lost(current[point]):
                current[point] = trial
        return list(current.values())

    def unfinished(self) -> list["FrozenTrial"]:
        """Those of `all` that still have to end."""
        return [one for one in self.all() if is_lost(one) or not one.state.is_finished()]

    def get(self, number: int) -> "FrozenTrial":
        """A trial as it stands now."""
        return self._storage.get_trial(self._key(number))

    def label(self, trial: "FrozenTrial") -> str:
        """The label of a trial's point."""
        return label(self.point(trial))

    def point(self, trial: "FrozenTrial") -> dict[str, Choice]:
        """What a trial tries, in the order of the space."""
        return {key: trial.params[key] for key in self.tune.space}

    def add(self, point: Point) -> None:
        """Add a trial for any process to begin."""
        import optuna

        distributions = {key: _distribution(s) for key, s in self.tune.space.items()}
        state = optuna.trial.TrialState.WAITING
        self._study.add_trial(
            optuna.create_trial(
                state=state,
                params=dict(point),
                distributions=distributions,
                user_attrs={"place": self._place},
            )
        )

    def begin(self, number: int) -> bool:
        """Set a trial running; False if it has ended or another process runs it.

        The caller must hold the trial's lock in the folder: one that runs there is then that of a
        process that died, and goes on.
        """
        from optuna.exceptions import UpdateFinishedTrialError
        from optuna.storages import RDBStorage
        from optuna.trial import TrialState

        key, trial = self._key(number), self.get(number)
        if trial.state == TrialState.RUNNING:
            return bool(trial.user_attrs["place"] == self._place)
        if trial.state != TrialState.WAITING:
            return False
        if isinstance(self._storage, RDBStorage):
            self._storage.record_heartbeat(key)  # first: a kill in between leaves it waiting
        try:
            begun = self._storage.set_trial_state_values(key, TrialState.RUNNING)
        except UpdateFinishedTrialError:
            return False
        if begun and trial.user_attrs["place"] != self._place:
            self.note(number, place=self._place)
        return begun

    @contextmanager
    def running(self, number: int) -> Iterator[None]:
        """Send heartbeats while the block runs a trial."""
        from optuna.exceptions import UpdateFinishedTrialError
        from optuna.storages._heartbeat import get_heartbeat_thread

        # The error: this process was silent for long, and another runs the trial now.
        heartbeats = get_heartbeat_thread(self._key(number), self._storage)
        with suppress(UpdateFinishedTrialError), heartbeats:
            yield

    def drop_silent(self) -> None:
        """Mark trials as lost whose heartbeats have stopped; nothing without a database."""
        from optuna.storages import fail_stale_trials

        with experimental():
            fail_stale_trials(self._study)

    def note(self, number: int, **facts: object) -> None:
        """Write facts beside an unfinished trial."""
        for name, value in facts.items():
            self._storage.set_trial_user_attr(self._key(number), name, value)

    def report(self, number: int, step: int, objective: float) -> None:
        """Write the objective of a validation; once more is the same."""
        self._storage.set_trial_intermediate_value(self._key(number), step, objective)

    def is_hopeless(self, number: int, steps: int) -> bool:
        """True where a trial is worse than the median of the finished ones at the same step.

        Args:
            number: of the trial.
            steps: of a whole trial; before the half of them, none is given up.
        """
        import optuna

        pruner = optuna.pruners.MedianPruner(PRUNING_NEEDS, steps // 2)
        return bool(pruner.prune(self._study, self.get(number)))

    def finish(self, number: int, state: "TrialState", objective: float | None = None) -> None:
        """Say what became of a trial; if somebody else has said it before, that holds."""
        self._study.tell(number, objective, state, skip_if_finished=True)

    def draw(self, sampler_name: str, *seed: int) -> dict[str, Choice]:
        """A point from a sampler: a function of the seed and the trials so far, not of what a
        process remembers, so that a search that was stopped goes on with the same points."""
        import optuna

        number = int(np.random.SeedSequence(seed).generate_state(1)[0])
        samplers = optuna.samplers
        sampler: optuna.samplers.BaseSampler = (
            samplers.TPESampler(seed=number)
            if sampler_name == "tpe"
            else samplers.RandomSampler(seed=number)
        )
        trial = optuna.create_trial(state=optuna.trial.TrialState.RUNNING)
        # In memory: the order of the points counts, not the numbers of trials that were lost.
        study = optuna.create_study()
        study.add_trials([one for one in self.all() if one.state.is_finished()])
        return {
            key: sampler.sample_independent(study, trial, key, _distribution(searched))
            for key, searched in self.tune.space.items()
        }

    def _key(self, number: int) -> int:
        return self._storage.get_trial_id_from_study_id_trial_number(self._id, number)


def _distribution(searched: Searched) -> "BaseDistribution":
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if not isinstance(searched, RangeSettings):
        return CategoricalDistribution(searched)
    low, high = searched.low, searched.high
    if isinstance(low, int) and isinstance(high, int):
        return IntDistribution(low, high, searched.log)
    return FloatDistribution(low, high, searched.log)


class _MendingLock:
    """What Optuna locks its journal with: let go of by a killed process at once, where Optuna's own
    makes others wait for 30 s; and what a kill left of a line is cut off, which Optuna would take
    for damage as soon as another line follows."""

    def __init__(self, journal: Path) -> None:
        self._journal = journal
        self._lock = filelock.FileLock(journal.with_name(f"{journal.name}.lock"))

    def acquire(self) -> bool:
        self._lock.acquire()
        if self._journal.is_file():
            with self._journal.open("rb+") as file:
                content = file.read()
                file.truncate(content.rfind(b"\n") + 1)
        return True

    def release(self) -> None:
        self._lock.release()


def _journal(path: Path) -> "BaseStorage":
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    lock: Any = _MendingLock(path)
    return JournalStorage(JournalFileBackend(str(path), lock))


def _database(url: str) -> "BaseStorage":
    import sqlalchemy
    from optuna.exceptions import OptunaError
    from optuna.storages import RDBStorage

    scheme, _, place = url.partition("://")
    if scheme.startswith("sqlite") and "?" in place and "=" not in place.partition("?")[2]:
        raise ConfigError(
            f"--storage: expected options, such as ?timeout=60, after the ? of {url!r}, found "
            "none; choose a file without ? in its name"
        )
    try:
        with experimental():
            return RDBStorage(
                url.replace("{", "{{").replace("}", "}}"),  # Optuna formats it
                heartbeat_interval=HEARTBEAT_SECONDS,
                grace_period=GRACE_SECONDS,
            )
    except (ImportError, OptunaError, sqlalchemy.exc.SQLAlchemyError) as error:
        raise ConfigError(
            "--storage: expected the URL of a database, e.g. sqlite:///tune.db or "
            f"postgresql+psycopg://host/tune with its driver installed; {error}"
        ) from error
