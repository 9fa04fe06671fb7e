"""Scores from Python: one forecaster on a split of a data set, or a leaderboard of several."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from torch import nn

from nowcast import hub, registry
from nowcast.api.cluster import cluster_settings
from nowcast.api.evaluate_parts import Found, in_parts, whole
from nowcast.api.forecasters import LoadedForecaster, run_of
from nowcast.api.progress import shows_progress
from nowcast.api.settings import dotted, settings_of
from nowcast.core.comparison.board import Board, ReadAs
from nowcast.core.comparison.contest import contest
from nowcast.core.comparison.leaderboard import verdicts
from nowcast.core.errors import ConfigError, UnknownForecaster
from nowcast.core.execution.engines import executor_of
from nowcast.core.execution.jobs import CLUSTER
from nowcast.core.scoring.sums import Scores
from nowcast.core.scoring.table import Row, Table
from nowcast.core.settings import RunSettings
from nowcast.core.storage.files import check_folder
from nowcast.core.storage.labels import labels
from nowcast.core.storage.runs import Run
from nowcast.core.system.devices import nearest_device, pick_device
from nowcast.core.system.distributed import Ranks, joined
from nowcast.core.terminal.progress import line
from nowcast.core.training.evaluate import evaluate as score
from nowcast.core.training.task import (
    Compared,
    Task,
    columns_of,
    compared,
    description_of,
    facts_of,
)
from nowcast.core.training.trainer import trained_model
from nowcast.precipitation.clips.trained_on import stated_by
from nowcast.precipitation.forecasting.released.weights import meant, shipped
from nowcast.precipitation.online.evaluate import evaluate_online
from nowcast.precipitation.task import PrecipitationTask
from nowcast.precipitation.verification.fitted import read_thresholds

Split = Literal["train", "valid", "test"]
Source = str | Path | LoadedForecaster
DEFAULT_PARTS = 16  # of a split on a cluster


@dataclass(frozen=True)
class Entry:
    """One forecaster to be scored: its settings, its task with the data, its model and its run."""

    settings: RunSettings
    task: Task
    model: nn.Module
    run: Run | None


@dataclass(frozen=True)
class Evaluation:
    """Scores of forecasters on the same samples.

    Args:
        scores: forecaster -> its scores.
        facts: what was scored: clips, data, split, and how they were cut.
        description: the same in a line.
        notes: where the data differ from those of training, a sentence each.
        replaced: forecaster -> how many of its clips were forecast by another method.
        verdicts: of several forecasters, which can be told apart, a line each.
        board: of several forecasters, with intervals and differences; None for one.
        is_main: False on further ranks under torchrun, which write nothing.
    """

    scores: Mapping[str, Scores]
    facts: Mapping[str, Any]
    description: str
    notes: tuple[str, ...]
    replaced: Mapping[str, int]
    verdicts: tuple[str, ...]
    board: Board | None
    task: Task
    is_main: bool

    def table(self) -> Table:
        """A row a forecaster and a column a score; `Table.markdown` and `Table.csv` write it."""
        rows = tuple(Row(name, {None: scores}) for name, scores in self.scores.items())
        return Table(columns_of(self.task), rows)

    def score(self, name: str, forecaster: str | None = None) -> float | None:
        """One score by its name, e.g. ``b_mse`` or ``csi/0.5``; None where it is undefined.

        Raises:
            ConfigError: no such score or forecaster.
        """
        values = self._of(forecaster).values
        if name not in values:
            raise ConfigError(f"expected a score of {', '.join(values)}, found {name!r}")
        return values[name]

    def by_lead_time(self, forecaster: str | None = None) -> dict[str, tuple[float | None, ...]]:
        """Each score at each lead time, with the lead times under ``minutes`` (for tasks without
        lead times under the name of their axis).

        Raises:
            ConfigError: no such forecaster.
        """
        scores = self._of(forecaster)
        return {scores.axis_name: tuple(scores.axis), **scores.curves}

    def document(self) -> dict[str, Any]:
        """Facts and the scores of one forecaster as plain values, for JSON."""
        name, scores = next(iter(self.scores.items()))
        return {"forecaster": name, **self.facts, **scores.document()}

    def _of(self, forecaster: str | None) -> Scores:
        if forecaster is None and len(self.scores) == 1:
            return next(iter(self.scores.values()))
        if forecaster is None or forecaster not in self.scores:
            raise ConfigError(
                f"expected a forecaster of {', '.join(self.scores)}, found {forecaster!r}"
            )
        return self.scores[forecaster]

    def _repr_markdown_(self) -> str:
        """As a notebook shows it."""
        table = self.table()
        return f"{table.markdown()}\n{table.legend}. {self.description}"


def evaluate(
    forecasters: Source | Sequence[Source] | Mapping[str, Source],
    data: str | Path,
    *,
    split: Split = "test",
    out: str | Path | None = None,
    online: bool = False,
    match_bias: str | Path | None = None,
    jobs: int | None = None,
    cluster: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    **keywords: Any,
) -> Evaluation:
    """Score forecasters on a split of an archive, or of another task's data.

    Args:
        forecasters: one as `load` takes it, or a baseline of the run's task; with `out` also
            several, or name -> forecaster.
        data: the archive, or another task's folder.
        split: which days.
        out: folder of a leaderboard: all scores of all forecasters and of the task's reference on
            the same samples, with pictures and a page.
        online: learn from what has become past before each forecast (HKO-7's online setting).
        match_bias: with `out`, the ``leaderboard.json`` of the same forecasters on another split:
            CSI and bias also at the thresholds that took the bias away there.
        jobs: parts of the split that are scored side by side, each in a process; in a script, call
            it under ``if __name__ == "__main__":`` with more than one.
        cluster: what scores them, as in `compare`.
        overrides: dotted config keys and their values, ``{"train.steps": 100}``.
        **keywords: the same with ``__`` for the dot, e.g. ``data__out_len=12``.

    Raises:
        ConfigError: no such forecaster or data, or several forecasters without `out`.
        DataError: a file is damaged.
        RunError: weights cannot be loaded, or give no numbers.
    """
    changes = dotted(overrides, keywords)
    return evaluate_named(
        _named(forecasters),
        data,
        split=split,
        out=out,
        online=online,
        match_bias=match_bias,
        overrides=changes,
        jobs=jobs,
        cluster=cluster,
    )


@shows_progress
def evaluate_named(
    forecasters: Sequence[tuple[str | None, str]],
    data: str | Path,
    *,
    split: Split,
    out: str | Path | None,
    online: bool,
    match_bias: str | Path | None,
    overrides: Mapping[str, Any],
    jobs: int | None = None,
    cluster: str | None = None,
) -> Evaluation:
    """As `evaluate`, of name (None: none is given) and source of each forecaster."""
    if not forecasters:
        raise ConfigError(
            "expected a forecaster beside changes of the config, found none; give the folder of a "
            "run or a baseline, e.g. persistence"
        )
    if len(forecasters) != 1 and out is None:
        raise ConfigError(
            f"expected one forecaster, found {len(forecasters)}; --out DIR (in Python out=) makes "
            "a leaderboard of several"
        )
    if online and out is not None:
        raise ConfigError("--online: expected one forecaster by itself, found --out; leave one out")
    if match_bias is not None and out is None:
        raise ConfigError(
            "--match-bias: expected --out DIR (in Python out=) too, found none; add it"
        )
    executor = executor_of(cluster_settings(cluster), jobs, Path(out or ".").resolve() / CLUSTER)
    if executor is not None and online:
        raise ConfigError("--online: its clips follow one another; leave out --jobs and --cluster")
    sources = labels(forecasters)
    if out is not None:
        check_folder(Path(out))
    with joined() as ranks:
        with line(f"opening {data} and {', '.join(sources)}"):
            changes = {**overrides, "data.root": str(data)}
            entries = _entries(sources, changes, online)
            first = next(iter(entries.values()))
            samples = first.task.samples(split)
        found = None
        if executor is not None:
            if ranks.size > 1:
                raise ConfigError("--jobs, --cluster and torchrun exclude each other; use one")
            again = partial(_entries, sources, changes, False)
            parts = jobs or DEFAULT_PARTS
            found = in_parts(again, split, samples, out is not None, executor, parts)
        if out is not None:
            read_as = _read_as(first.task, entries, split, match_bias)
            return _leaderboard(entries, split, ranks, Path(out), read_as, found)
        return _alone(next(iter(entries)), first, split, ranks, online, found)


def _named(
    forecasters: Source | Sequence[Source] | Mapping[str, Source],
) -> list[tuple[str | None, str]]:
    """Name (None: none is given) and source of each forecaster."""
    if isinstance(forecasters, Mapping):
        return [(name, _text(source)) for name, source in forecasters.items()]
    if isinstance(forecasters, str | Path | LoadedForecaster):
        forecasters = [forecasters]
    return [(None, _text(source)) for source in forecasters]


def _text(source: Source) -> str:
    return source.source if isinstance(source, LoadedForecaster) else str(source)


def _alone(
    name: str, entry: Entry, split: Split, ranks: Ranks, online: bool, found: Found | None
) -> Evaluation:
    task = entry.task
    if found is not None:
        scores = task.read(whole(found, name))
    else:
        device = pick_device(entry.settings.train.device, ranks)
        model = entry.model.to(device)
        if online:
            scores = evaluate_online(task, model, split, device, entry.settings)
        else:
            scores = score(task, model, split, ranks, device, f"scoring {name} on {split}")
    return Evaluation(
        scores={name: scores},
        facts=facts_of(task, split),
        description=f"{description_of(task, split)}{', online' * online}",
        notes=_notes({name: entry}),
        replaced=_replaced({name: entry}, found),
        verdicts=(),
        board=None,
        task=task,
        is_main=ranks.is_main,
    )


def _read_as(
    task: Task, entries: Mapping[str, Entry], split: Split, match_bias: str | Path | None
) -> ReadAs | None:
    """How sums are read if there is a file of thresholds of each forecaster's own."""
    if match_bias is None:
        return None
    if not isinstance(task, PrecipitationTask):
        raise ConfigError("--match-bias: expected precipitation, found another task; leave it out")
    names = list(dict.fromkeys([task.reference, *entries]))
    thresholds = read_thresholds(Path(match_bias), names, task.facts(split))
    return lambda name, sums: task.read(sums, thresholds[name])


def _leaderboard(
    entries: Mapping[str, Entry],
    split: Split,
    ranks: Ranks,
    out: Path,
    read_as: ReadAs | None,
    found: Found | None,
) -> Evaluation:
    first = next(iter(entries.values()))
    pick = pick_device if found is None else nearest_device  # parts are scored elsewhere
    device = pick(first.settings.train.device, ranks)
    models = {
        name: (compared(entry.task, "--out"), entry.model.to(device))
        for name, entry in entries.items()
    }
    parts = None if found is None else found.sums
    board = contest(models, split, ranks, device, out, read_as, parts)
    return Evaluation(
        scores=board.scores,
        facts=board.facts,
        description=description_of(first.task, split),
        notes=_notes(entries),
        replaced=_replaced(entries, found),
        verdicts=tuple(verdicts(board)) if ranks.is_main else (),
        board=board,
        task=first.task,
        is_main=ranks.is_main,
    )


def _entries(
    sources: Mapping[str, str], changes: dict[str, Any], learning: bool
) -> dict[str, Entry]:
    """Forecasters by label, each with its data; a baseline has the first run's settings."""
    runs = {
        name: run_of(source) if _has_weights(source) else Run(Path(source))
        for name, source in sources.items()
        if _has_weights(source) or Path(source).is_dir()
    }
    first = next(iter(runs.values())).config() if runs else {"task": "precipitation"}
    entries: dict[str, Entry] = {}
    task: Task | None = None
    for name, source in sources.items():
        run = runs.get(name)
        settings = settings_of(run.config() if run else first, source, changes, evaluating=True)
        task = registry.build(settings, task)
        try:
            model = (
                trained_model(task, settings, run, learning)
                if run
                else compared(task, f"the baseline {source}").baseline(source)
            )
        except UnknownForecaster as error:
            raise ConfigError(
                f"{error}{meant(source)}. Weights that come with nowcast: {', '.join(shipped())}"
            ) from error
        if isinstance(task, Compared) and name == task.reference != source:
            raise ConfigError(
                f"{source}: {name} is what a leaderboard sets others against; give it another "
                f"name: NAME={source}"
            )
        entries[name] = Entry(settings, task, model, run)
    return entries


def _has_weights(source: str) -> bool:
    return hub.is_at_hub(source) or source in shipped()


def _notes(entries: Mapping[str, Entry]) -> tuple[str, ...]:
    """Where the data differ from what weights were trained on, a sentence each."""
    notes: list[str] = []
    for name, entry in entries.items():
        seen = stated_by(entry.run) if entry.run is not None else None
        if seen is not None and isinstance(entry.task, PrecipitationTask):
            notes += seen.notes(name, entry.task.archive.description)
    return tuple(notes)


def _replaced(entries: Mapping[str, Entry], found: Found | None) -> dict[str, int]:
    if found is not None:
        counts = dict(found.replaced)
    else:
        counts = {name: getattr(entry.model, "replaced", 0) for name, entry in entries.items()}
    return {name: count for name, count in counts.items() if count}
