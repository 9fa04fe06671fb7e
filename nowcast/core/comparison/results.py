"""What a comparison leaves in its folder: scores, table, tests, pictures and the report page."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import nn

from nowcast.core.comparison import effects, findings
from nowcast.core.comparison.figures import of_seeds
from nowcast.core.comparison.statistics.bootstrap import differences
from nowcast.core.comparison.statistics.significance import near_best
from nowcast.core.comparison.statistics.verdict import MARKS
from nowcast.core.comparison.stored import FILMS, SCORES, read_results
from nowcast.core.execution.jobs import COMPARE, Build, Job, forecaster
from nowcast.core.report.page import Report, Section, Verdicts, training_charts, write_report
from nowcast.core.report.papers import write_figures, write_latex
from nowcast.core.report.player import write_films
from nowcast.core.report.variants import versions
from nowcast.core.scoring.sums import Sums, load_blocks
from nowcast.core.scoring.table import DASH, Row, Table
from nowcast.core.settings import CompareSettings
from nowcast.core.storage.files import write_json, write_text
from nowcast.core.storage.origin import code_hash, digest
from nowcast.core.storage.runs import Run
from nowcast.core.system.devices import arithmetic, nearest_device
from nowcast.core.system.distributed import Ranks
from nowcast.core.system.machine import when_and_where
from nowcast.core.terminal.plain import command
from nowcast.core.training.task import Compared, Pictured, compared


def write_results(
    settings: CompareSettings,
    jobs: list[Job],
    build: Build,
    task: Compared,
    rows: tuple[Row, ...],
    searches: Mapping[str, str],
    out: Path,
    missing: str = "",
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
        missing: which runs are not there, in a sentence; empty: none is missing.
    """
    facts = dict(task.facts(settings.split))
    parts: dict[str, list[Mapping[str, Sums]]] = {}
    for job in (job for job in jobs if job.scored):
        parts.setdefault(job.variant, []).append(load_blocks(job.sums_file(settings.split)))
    content = {
        "made_from": _made_from(jobs, settings),
        "facts": facts
        | when_and_where()
        | ({"searched": "; ".join(searches.values())} if searches else {})
        | ({"missing": missing} if missing else {}),
        "notes": [*([missing] if missing else []), *searches.values()],
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
        "references": {
            name: variant.reference
            for name, variant in settings.variants.items()
            if variant.reference is not None
        },
        "same_runs": [name for name, variant in settings.variants.items() if variant.run_of],
        "equivalence": settings.equivalence,
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
    write_json(out / SCORES, content)
    shown = [job for job in jobs if job.scored and job.seed in (None, settings.seeds[0])]
    models: dict[str, nn.Module] = {}
    for job in shown:
        own = compared(build(job.settings, task), COMPARE)  # variants may differ in their model
        if own.facts(settings.split) == facts:  # or it forecasts other samples
            device = nearest_device(job.settings.train.device, Ranks())
            models[job.variant] = forecaster(job, own).to(device)
    with arithmetic():
        reels = task.reels(models, settings.split) if isinstance(task, Pictured) else ()
    write_films(out / FILMS, reels)
    report(out)


def is_made(out: Path, jobs: Sequence[Job], settings: CompareSettings) -> bool:
    """Whether the results in a folder are of these runs, by this code, and complete."""
    try:
        content = json.loads((out / SCORES).read_text())
    except (OSError, ValueError):
        return False
    complete = (out / FILMS).is_file()  # written last
    return complete and content.get("made_from") == _made_from(jobs, settings)


def _made_from(jobs: Sequence[Job], settings: CompareSettings) -> str:
    """A hash of all that results come from."""
    runs = [(job.variant, job.seed, job.scored, job.run.origin()) for job in jobs]
    return digest([settings.model_dump(mode="json"), code_hash(), runs])


def report(out: Path) -> Table:
    """Write ``table.md``, ``.csv`` and ``.tex``, ``verdicts.csv``, ``significance.csv``,
    ``figures/`` and ``report.html`` from what a comparison left in `out`.

    Raises:
        ConfigError: there are no results of a comparison.
    """
    stored = read_results(out)
    table, facts, parents = stored.table, stored.facts, stored.parents
    names = [row.name for row in table.rows]
    found, told = stored.contrasts, effects.effects(stored)
    for name, text in {
        "table.md": "\n".join(
            [table.markdown(), f"{table.legend}.\n", *(f"{note}\n" for note in stored.notes)]
        ),
        "table.csv": table.csv(),
        "verdicts.csv": effects.as_csv(told),
        "significance.csv": findings.as_csv(found),
    }.items():
        write_text(out / name, text)
    write_latex(out / "table.tex", table, near_best(table, found), MARKS)
    several = stored.comparisons
    # Of several comparisons, training curves and origins are on each one's own page.
    runs = {} if several else {name: Run(folder) for name, folder in stored.runs.items()}
    histories = {name: run.history() for name, run in runs.items()}
    training = enumerate(training_charts(table.columns, histories))
    charts = of_seeds(table) | {f"training_{number}": chart for number, chart in training}
    forests = effects.as_forests(told)
    write_figures(out, charts, names, forests)
    data = ", ".join(several) or facts.get("data")
    shown = ", ".join(name for name in names if name in parents)
    words = findings.as_sections(found, stored.against)
    write_report(
        out / "report.html",
        Report(
            title=f"{shown} on {data}" if data else out.name,
            facts={name.replace("_", " "): str(value) for name, value in facts.items()},
            table=table,
            parents=parents,
            histories=histories,
            pictures={},
            command=board_command(out),
            verdicts=Verdicts(effects.as_section(told), forests, words) if told else None,
            sections=_differing_facts(several),
            films=stored.films,
            edges=stored.edges,
            configs=stored.configs,
            versions=stored.versions,
            origins={name: origin for name, run in runs.items() if (origin := run.origin())},
            notes=stored.notes if several else (),
            pages={name: one["page"] for name, one in several.items()},
        ),
    )
    return table


def _differing_facts(comparisons: Mapping[str, Mapping[str, Any]]) -> list[Section]:
    """A table of what comparisons do not share, one a row; none where there are no several."""
    if not comparisons:
        return []
    keys = list(dict.fromkeys(key for one in comparisons.values() for key in one["facts"]))
    header = ["Comparison", *(key.replace("_", " ") for key in keys)]
    rows = [
        [name, *(str(one["facts"].get(key, DASH)) for key in keys)]
        for name, one in comparisons.items()
    ]
    note = f"Facts that are not the same in all comparisons; {DASH}: not stated."
    return [Section("What differs between the comparisons", header, rows, note)]


def board_command(out: Path) -> str:
    """The command that shows a comparison's curves in a browser."""
    runs = json.loads((out / SCORES).read_text())["runs"].values()
    folders = [(out / run).resolve() for run in runs]
    shared = Path(os.path.commonpath(folders)) if folders else out.resolve()
    if shared.is_relative_to(out.resolve()):
        return command("nowcast", "board", out)
    return command("nowcast", "board", shared if out.is_absolute() else os.path.relpath(shared))
