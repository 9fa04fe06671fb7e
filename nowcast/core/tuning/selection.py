"""What a search found: the setting that did best on the validation split, and all that was tried.

In files of its own, so that who reads a result needs neither Optuna nor the database.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nowcast.core.errors import ConfigError, RunError
from nowcast.core.scoring.table import DASH, csv_text
from nowcast.core.settings import Choice
from nowcast.core.storage.files import write_json, write_text
from nowcast.core.tuning.trials import Trials

STATES = ("complete", "pruned", "failed")


@dataclass(frozen=True)
class Selection:
    """The result of a search, as ``best.json`` holds it.

    Args:
        variant: what was searched for.
        selected: dotted overrides of the best setting.
        objective: its least validation objective.
        objective_of: the scores whose sum that is.
        step: where it was reached.
        split: what was looked at to select.
        seed: of the trials and of the sampler.
        tried: how many settings, by what became of them.
        space: what was searched.
        sampler: how.
        prune: whether trials were given up early.
        optuna: its version.
        trials: setting, state, objective, steps, seconds from begin to end (pauses included) and
            error of each.
    """

    variant: str
    selected: Mapping[str, Choice]
    objective: float
    objective_of: list[str]
    step: int
    split: str
    seed: int
    tried: Mapping[str, int]
    space: Mapping[str, Any]
    sampler: str
    prune: bool
    optuna: str
    trials: list[dict[str, Any]]

    @property
    def note(self) -> str:
        """For a table in which the variant stands, e.g. ``MEmeL-Tune: 25 settings tried on valid
        (20 complete, 5 pruned), seed 0; memel.top_k=5, memel.delta=1 selected``."""
        count = sum(self.tried.values())
        states = ", ".join(f"{n} {state}" for state, n in self.tried.items() if n)
        setting = ", ".join(f"{key}={value}" for key, value in self.selected.items())
        return (
            f"{self.variant}: {count} settings tried on {self.split} ({states}), seed {self.seed}; "
            f"{setting} selected"
        )

    def shown(self) -> tuple[list[str], list[list[str]]]:
        """Header and rows of its trials for a terminal, the selected one starred."""
        header = [*self.space, "state", " + ".join(self.objective_of), "step", "of", "seconds"]
        rows = []
        for trial in self.trials:
            setting = {key: trial[key] for key in self.space}
            star = " *" if setting == dict(self.selected) else ""
            objective = trial["objective"]
            rows.append(
                [
                    *map(str, setting.values()),
                    trial["state"],
                    DASH if objective is None else f"{objective:.6g}{star}",
                    DASH if trial["best_step"] is None else str(trial["best_step"]),
                    str(trial["steps"]),
                    f"{trial['seconds']:.1f}",
                ]
            )
        return header, rows


def search_folder(out: Path, variant: str) -> Path:
    """Where the search for a variant of a comparison lies."""
    return out / "tune" / variant


def is_done(folder: Path) -> bool:
    """True once a search has selected."""
    return (folder / "best.json").is_file()


def read_selection(folder: Path) -> Selection:
    """What the search in a folder found.

    Raises:
        ConfigError: it has not found anything yet.
    """
    try:
        return Selection(**json.loads((folder / "best.json").read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(
            f"{folder}: expected best.json of a search, as `nowcast tune` writes it at its end: "
            f"{error}"
        ) from error


def tried(folder: Path) -> int:
    """How many settings the search in a folder has tried; raises as `read_selection`."""
    return sum(read_selection(folder).tried.values())


def write_selection(
    folder: Path, variant: str, trials: Trials, objective_of: tuple[str, ...]
) -> Selection:
    """Select from finished trials by the validation objective; write ``trials.csv`` and, last,
    ``best.json``.

    Raises:
        RunError: all trials failed.
    """
    import optuna

    state_of = dict(zip(("COMPLETE", "PRUNED", "FAIL"), STATES, strict=True))
    rows = [
        trials.point(trial)
        | {
            "state": state_of[trial.state.name],
            "objective": min(trial.intermediate_values.values(), default=trial.value),
            "best_step": trial.user_attrs.get("best_step"),
            "steps": trial.user_attrs["steps"],
            "seconds": round(trial.duration.total_seconds(), 1) if trial.duration else None,
            "error": trial.user_attrs.get("error", ""),
        }
        for trial in trials.all()
    ]
    write_text(folder / "trials.csv", csv_text(rows))
    complete = [row for row in rows if row["state"] == "complete"]
    if not complete:
        raise RunError(
            f"{folder}: all {len(rows)} settings failed, the first by: {rows[0]['error']}; begin "
            "again in another folder"
        )
    best = min(complete, key=lambda row: row["objective"])
    tune = trials.tune
    assert tune.seed is not None
    found = Selection(
        variant=variant,
        selected={key: best[key] for key in tune.space},
        objective=best["objective"],
        objective_of=list(objective_of),
        step=best["best_step"],
        split="valid",
        seed=tune.seed,
        tried={state: sum(row["state"] == state for row in rows) for state in STATES},
        space=tune.model_dump(mode="json")["space"],
        sampler=tune.sampler,
        prune=tune.prune,
        optuna=optuna.__version__,
        trials=rows,
    )
    write_json(folder / "best.json", asdict(found))
    return found
