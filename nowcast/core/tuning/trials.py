"""Where a search keeps its trials: an Optuna study in a journal file or a database.

Trials are only ever added in the state RUNNING with all that they need to be run, in one write, so
a kill leaves either no trial or one that can be gone on with.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
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


@contextmanager
def quiet() -> Iterator[None]:
    """Within the block Optuna does not tell of each trial; afterwards as its user had it."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


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
        self._storage = _journal(folder / "journal.log") if url is None else _database(url)
        self._study = optuna.create_study(
            study_name=name, storage=self._storage, load_if_exists=True, direction="minimize"
        )
        self._id = self._storage.get_study_id_from_name(name)

    def all(self) -> list["FrozenTrial"]:
        """All of them in the order they were begun; of several of one point, the first counts."""
        first: dict[str, FrozenTrial] = {}
        for trial in self._study.get_trials(deepcopy=False):
            first.setdefault(self.label(trial), trial)
        return list(first.values())

    def get(self, number: int) -> "FrozenTrial":
        """A trial as it stands now."""
        return self._storage.get_trial(self._key(number))

    def label(self, trial: "FrozenTrial") -> str:
        """The label of a trial's point."""
        return label(self.point(trial))

    def point(self, trial: "FrozenTrial") -> dict[str, Choice]:
        """What a trial tries, in the order of the space."""
        return {key: trial.params[key] for key in self.tune.space}

    def add(self, point: Point, place: str) -> None:
        """Begin a trial, to be run at a place."""
        import optuna

        distributions = {key: _distribution(s) for key, s in self.tune.space.items()}
        state = optuna.trial.TrialState.RUNNING
        self._study.add_trial(
            optuna.create_trial(
                state=state,
                params=dict(point),
                distributions=distributions,
                user_attrs={"place": place},
            )
        )

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
        # Read anew: a study remembers its trials from one draw to the next.
        study = optuna.load_study(study_name=self._study.study_name, storage=self._storage)
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
        return RDBStorage(url.replace("{", "{{").replace("}", "}}"))  # Optuna formats it
    except (ImportError, OptunaError, sqlalchemy.exc.SQLAlchemyError) as error:
        raise ConfigError(
            "--storage: expected the URL of a database, e.g. sqlite:///tune.db or "
            f"postgresql+psycopg://host/tune with its driver installed; {error}"
        ) from error
