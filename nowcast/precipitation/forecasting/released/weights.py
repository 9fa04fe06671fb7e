"""Trained weights that come with the package, each a run's folder with a model card."""

from collections.abc import Iterable
from pathlib import Path

from nowcast.core.errors import ConfigError, did_you_mean
from nowcast.core.storage.near_runs import meant_run
from nowcast.core.storage.runs import Run

FOLDER = Path(__file__).parent
CARD = "README.md"
SINGLE, MEMBERS = "comoving-memel", "comoving-ensemble"


def default(members: int | None) -> str:
    """What forecasts where no weights are named: those with members, if members are asked for."""
    return SINGLE if members is None else MEMBERS


def shipped() -> list[str]:
    """Names of the weights that come with the package."""
    return sorted(path.parent.name for path in FOLDER.glob("*/config.yaml"))


def meant(name: str, others: Iterable[str] = ()) -> str:
    """``; did you mean ...?`` of a name that is no run's, no weights' and none of others."""
    return meant_run(Path(name)) or did_you_mean(name, [*shipped(), *others])


def located(name: str) -> Run:
    """The run of that name that comes with the package, or else the run in that folder.

    Raises:
        ConfigError: neither is there.
    """
    if name in shipped():
        return Run(FOLDER / name)
    run = Run(Path(name))
    if not run.best_weights.is_file():
        raise ConfigError(
            f"weights: expected one of {', '.join(shipped())} or the folder of "
            f"a finished run, found {name!r}"
            f"{meant(name)}"
        )
    return run
