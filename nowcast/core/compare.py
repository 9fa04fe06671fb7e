"""A comparison: variants by seeds, trained once each, scored on the same samples, in one table."""

import json
import platform
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from nowcast.core.distributed import Ranks, wait
from nowcast.core.errors import ConfigError
from nowcast.core.evaluate import evaluate, pick_device
from nowcast.core.log import bar, console
from nowcast.core.report import Report, write_report
from nowcast.core.runs import Run, write_json, write_text
from nowcast.core.settings import CompareSettings, RunSettings
from nowcast.core.sums import Scores
from nowcast.core.table import Column, Row, Table
from nowcast.core.task import Task
from nowcast.core.trainer import train, trained_model

Resolve = Callable[[Mapping[str, object]], RunSettings]
Build = Callable[[RunSettings, Task | None], Task]


@dataclass(frozen=True)
class Job:
    """One variant with one seed.

    Args:
        variant: its name in the comparison.
        seed: the seed.
        settings: its resolved config.
        run: its folder.
    """

    variant: str
    seed: int
    settings: RunSettings
    run: Run

    @property
    def title(self) -> str:
        """As shown beside the progress bar."""
        return f"{self.variant} seed {self.seed}"


def plan(settings: CompareSettings, resolve: Resolve, out: Path) -> list[Job]:
    """All jobs of a comparison, seed by seed, each after the one it starts from.

    Args:
        settings: variants and seeds.
        resolve: dotted overrides -> the config with them.
        out: the comparison's folder.

    Raises:
        ConfigError: a variant's config is invalid.
    """
    jobs: list[Job] = []
    for seed in settings.seeds:
        folders = {name: out / "runs" / name / f"seed{seed}" for name in settings.variants}
        for name, variant in settings.variants.items():
            parent = variant.start_from
            overrides = dict(variant.set) | {
                "train.seed": seed,
                "start_from": None if parent is None else str(folders[parent]),
            }
            jobs.append(Job(name, seed, resolve(overrides), Run(folders[name])))
    return jobs


def compare(
    settings: CompareSettings, resolve: Resolve, build: Build, out: Path, ranks: Ranks
) -> Table:
    """Train what is not trained yet, score everything, write table and report into `out`.

    Raises:
        ConfigError: a variant's config is invalid, or a folder holds a run of another config.
        trainer.Interrupted: a signal came; the same call goes on.
    """
    jobs = plan(settings, resolve, out)
    done = sum(job.run.is_finished for job in jobs)
    if ranks.is_main:
        console.print(f"{len(jobs)} runs, {done} of them finished; folder {out}")
    tasks: list[Task] = []
    for job in jobs:
        tasks.append(build(job.settings, tasks[-1] if tasks else None))
        train(tasks[-1], job.settings, job.run, ranks, job.title)
    rows = _score(settings, jobs, tasks, out, ranks)
    if ranks.is_main:
        _write_results(settings, jobs, tasks[0], rows, out)
    wait()
    return Table(tasks[0].columns, rows)


def _score(
    settings: CompareSettings, jobs: list[Job], tasks: list[Task], out: Path, ranks: Ranks
) -> tuple[Row, ...]:
    device = pick_device(jobs[0].settings.train.device, ranks)
    scores: dict[str, dict[int | None, Scores]] = {name: {} for name in settings.baselines}
    total = len(settings.baselines) + len(jobs)
    with bar(f"scoring the {settings.split} split", total, shown=ranks.is_main) as line:
        for name in settings.baselines:
            model = tasks[0].baseline(name).to(device)
            scores[name][None] = evaluate(tasks[0], model, settings.split, ranks, device)
            line.advance(name)
        for job, task in zip(jobs, tasks, strict=True):
            found = _scored_run(job, task, settings.split, ranks, device)
            scores.setdefault(job.variant, {})[job.seed] = found
            line.advance(job.title)
    return tuple(Row(name, by_seed) for name, by_seed in scores.items())


def _scored_run(job: Job, task: Task, split: str, ranks: Ranks, device: torch.device) -> Scores:
    """Scores of a finished run's best weights, kept in its folder."""
    kept = job.run.folder / f"scores_{split}.json"
    if kept.is_file():
        return Scores.from_document(json.loads(kept.read_text()))
    model = trained_model(task, job.settings, job.run)
    scores = evaluate(task, model.to(device), split, ranks, device)
    if ranks.is_main:
        write_json(kept, scores.document())
    return scores


def _write_results(
    settings: CompareSettings, jobs: list[Job], task: Task, rows: tuple[Row, ...], out: Path
) -> None:
    facts = dict(task.facts(settings.split))
    content = {
        "facts": facts | {"date": datetime.now(UTC).strftime("%Y-%m-%d"), "machine": _machine()},
        "columns": [asdict(column) for column in task.columns],
        "parents": {name: variant.start_from for name, variant in settings.variants.items()},
        "rows": [
            {"forecaster": row.name, "seed": seed, **facts, **scores.document()}
            for row in rows
            for seed, scores in row.scores.items()
        ],
    }
    write_json(out / "scores.json", content)
    first = settings.seeds[0]
    for job in (job for job in jobs if job.seed == first):
        model = trained_model(task, job.settings, job.run)
        for caption, picture in task.pictures(model, settings.split).items():
            _write_picture(out / "pictures" / f"{job.variant}, {caption}.png", picture)
    report(out)


def report(out: Path) -> Table:
    """Write ``table.md``, ``table.csv`` and ``report.html`` from what a comparison left in `out`.

    Raises:
        ConfigError: there are no results of a comparison.
    """
    try:
        content = json.loads((out / "scores.json").read_text())
        columns = tuple(Column(**column) for column in content["columns"])
        facts, parents = content["facts"], content["parents"]
        scores: dict[str, dict[int | None, Scores]] = {}
        for entry in content["rows"]:
            name, seed = entry.pop("forecaster"), entry.pop("seed")
            plain = {key: value for key, value in entry.items() if key not in facts}
            scores.setdefault(name, {})[seed] = Scores.from_document(plain)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{out}: expected scores.json of a comparison, as `nowcast compare` writes it at its "
            f"end: {error}"
        ) from error
    table = Table(columns, tuple(Row(name, by_seed) for name, by_seed in scores.items()))
    histories = {
        f"{run.parent.name}/{run.name.replace('seed', 'seed ')}": Run(run).history()
        for run in sorted((out / "runs").glob("*/seed*"))
    }
    pictures = {path.stem: _read_picture(path) for path in sorted(out.glob("pictures/*.png"))}
    for name, text in {"table.md": table.markdown(), "table.csv": table.csv()}.items():
        write_text(out / name, text)
    write_report(
        out / "report.html",
        Report(
            title=f"{', '.join(parents)} on {facts['archive']}" if "archive" in facts else out.name,
            facts={name.replace("_", " "): str(value) for name, value in facts.items()},
            table=table,
            parents=parents,
            histories=histories,
            pictures=pictures,
            command=board_command(out),
        ),
    )
    return table


def board_command(out: Path) -> str:
    """The command that shows a comparison's curves in a browser."""
    return f"tensorboard --logdir {out / 'runs'}"


def _machine() -> str:
    threads = torch.get_num_threads()
    place = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{threads} CPU threads"
    return f"{platform.system()} {platform.machine()}, {place}, torch {torch.__version__}"


def _write_picture(path: Path, picture: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    _, data = cv2.imencode(".png", picture[..., ::-1])
    path.write_bytes(data.tobytes())


def _read_picture(path: Path) -> NDArray[np.uint8]:
    data = np.frombuffer(path.read_bytes(), dtype=np.uint8)
    picture = cv2.imdecode(data, cv2.IMREAD_COLOR)
    if picture is None:
        raise ConfigError(f"{path}: not a picture; run the comparison again")
    return picture[..., ::-1].astype(np.uint8)
