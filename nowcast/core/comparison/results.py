"""What a comparison leaves in its folder: scores, table, tests, pictures and the report page."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from torch import nn

from nowcast.core.comparison.bootstrap import Difference, differences
from nowcast.core.comparison.findings import as_csv, as_sections, references
from nowcast.core.comparison.jobs import Build, Job, forecaster
from nowcast.core.comparison.significance import contrasts
from nowcast.core.errors import ConfigError
from nowcast.core.files import write_json, write_text
from nowcast.core.machine import when_and_where
from nowcast.core.origin import code_hash, digest
from nowcast.core.page.player import read_films, write_films
from nowcast.core.page.provenance import versions
from nowcast.core.page.report import Report, write_report
from nowcast.core.runs import Run
from nowcast.core.settings import CompareSettings
from nowcast.core.sums import Scores, Sums, load_blocks
from nowcast.core.table import Column, Row, Table
from nowcast.core.task import Task

FILMS = "films.json"  # forecasts drawn while the models were there


def write_results(
    settings: CompareSettings,
    jobs: list[Job],
    build: Build,
    task: Task,
    rows: tuple[Row, ...],
    searches: Mapping[str, str],
    out: Path,
) -> None:
    """Write everything about a comparison that is trained and scored into its folder.

    Args:
        settings: variants, seeds, baselines and the split.
        jobs: all of them, complete.
        build: settings, and a task to share data with -> the task.
        task: any of the comparison's.
        rows: the scores.
        searches: variant -> what was tried to find its settings, in a sentence.
        out: folder of the comparison.
    """
    facts = dict(task.facts(settings.split))
    parts: dict[str, list[Mapping[str, Sums]]] = {}
    for job in (job for job in jobs if job.scored):
        parts.setdefault(job.variant, []).append(load_blocks(job.sums_file(settings.split)))
    content = {
        "made_from": _made_from(jobs, settings),
        "facts": facts
        | when_and_where()
        | ({"searched": "; ".join(searches.values())} if searches else {}),
        "notes": list(searches.values()),
        "columns": [asdict(column) for column in task.columns],
        "parents": {
            name: variant.start_from or variant.run_of
            for name, variant in settings.variants.items()
        },
        "edges": {
            name: "scored with other settings, run of"
            for name, variant in settings.variants.items()
            if variant.run_of is not None
        }
        | {
            name: f"searched, then {'fine-tuned from' if parent else 'trained from scratch'}"
            for name in searches
            for parent in [settings.variants[name].start_from]
        },
        "same_runs": [name for name, variant in settings.variants.items() if variant.run_of],
        "rows": [
            {"forecaster": row.name, "seed": seed, **facts, **scores.document()}
            for row in rows
            for seed, scores in row.scores.items()
        ],
        "configs": {
            job.variant: job.settings.model_dump(mode="json")
            for job in jobs
            if job.seed == settings.seeds[0]
        },
        "versions": versions(),
        # Relative, so that the whole folder can be moved.
        "runs": {
            f"{job.variant}/seed {job.seed}": os.path.relpath(job.run.folder, out)
            for job in jobs
            if job.seed is not None
        },
        "differences": [
            asdict(found) for found in differences(parts, task.read_columns, task.columns)
        ],
    }
    (out / FILMS).unlink(missing_ok=True)
    write_json(out / "scores.json", content)
    shown = [job for job in jobs if job.scored and job.seed in (None, settings.seeds[0])]
    models: dict[str, nn.Module] = {}
    for job in shown:
        own = build(job.settings, task)  # variants may differ in their model
        if own.facts(settings.split) == facts:  # or it forecasts other samples
            models[job.variant] = forecaster(job, own)
    write_films(out / FILMS, task.reels(models, settings.split))
    report(out)


def is_made(out: Path, jobs: Sequence[Job], settings: CompareSettings) -> bool:
    """Whether the results in a folder are of these runs, by this code, and complete."""
    try:
        content = json.loads((out / "scores.json").read_text())
    except (OSError, ValueError):
        return False
    complete = (out / FILMS).is_file()  # written last
    return complete and content.get("made_from") == _made_from(jobs, settings)


def _made_from(jobs: Sequence[Job], settings: CompareSettings) -> str:
    """A hash of all that results come from."""
    runs = [(job.variant, job.seed, job.scored, job.run.origin()) for job in jobs]
    return digest([settings.model_dump(mode="json"), code_hash(), runs])


def report(out: Path) -> Table:
    """Write ``table.md``, ``table.csv``, ``significance.csv`` and ``report.html`` from what a
    comparison left in `out`.

    Raises:
        ConfigError: there are no results of a comparison.
    """
    try:
        content = json.loads((out / "scores.json").read_text())
        columns = tuple(Column(**column) for column in content["columns"])
        facts, parents, notes = content["facts"], content["parents"], content["notes"]
        configs, made_with, edges = content["configs"], content["versions"], content["edges"]
        same_runs = content["same_runs"]
        runs = {name: Run(out / folder) for name, folder in content["runs"].items()}
        films = read_films(out / FILMS)
        blocks = [Difference(**found) for found in content["differences"]]
        scores: dict[str, dict[int | None, Scores]] = {}
        for entry in content["rows"]:
            name, seed = entry.pop("forecaster"), entry.pop("seed")
            plain = {key: value for key, value in entry.items() if key not in facts}
            scores.setdefault(name, {})[seed] = Scores.from_document(plain)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{out}: expected scores.json of a comparison and {FILMS}, as `nowcast compare` writes "
            "them at its end; run it again, trained runs are kept. "
            f"{type(error).__name__}: {error}"
        ) from error
    table = Table(columns, tuple(Row(name, by_seed) for name, by_seed in scores.items()))
    shown = ", ".join(name for name in scores if name in parents)
    found = contrasts(table, blocks)
    for name, text in {
        "table.md": "\n".join([table.markdown(), *(f"{note}\n" for note in notes)]),
        "table.csv": table.csv(),
        "significance.csv": as_csv(found),
    }.items():
        write_text(out / name, text)
    write_report(
        out / "report.html",
        Report(
            title=f"{shown} on {facts['data']}" if "data" in facts else out.name,
            facts={name.replace("_", " "): str(value) for name, value in facts.items()},
            table=table,
            parents=parents,
            histories={name: run.history() for name, run in runs.items()},
            pictures={},
            command=board_command(out),
            sections=as_sections(found, references(parents, list(scores), same_runs)),
            films=films,
            edges=edges,
            configs=configs,
            versions=made_with,
            origins={name: origin for name, run in runs.items() if (origin := run.origin())},
        ),
    )
    return table


def board_command(out: Path) -> str:
    """The command that shows a comparison's curves in a browser."""
    runs = json.loads((out / "scores.json").read_text())["runs"].values()
    shared = Path(os.path.commonpath(runs)) if runs else Path()
    place = out if shared.parts[:1] != ("..",) else Path(os.path.normpath(out / shared))
    return f"nowcast board {place}"
