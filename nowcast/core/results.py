"""What a comparison leaves in its folder: scores, table, tests, pictures and the report page."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from nowcast.core.bootstrap import Difference, differences
from nowcast.core.errors import ConfigError
from nowcast.core.files import write_json, write_text
from nowcast.core.findings import as_csv, as_sections, references
from nowcast.core.jobs import Build, Job, forecaster
from nowcast.core.machine import when_and_where
from nowcast.core.report import Report, write_report
from nowcast.core.runs import Run
from nowcast.core.settings import CompareSettings
from nowcast.core.significance import contrasts
from nowcast.core.sums import Scores, Sums, load_blocks
from nowcast.core.table import Column, Row, Table
from nowcast.core.task import Task


def write_results(
    settings: CompareSettings,
    jobs: list[Job],
    build: Build,
    task: Task,
    rows: tuple[Row, ...],
    out: Path,
) -> None:
    """Write everything about a comparison that is trained and scored into its folder.

    Args:
        settings: variants, seeds, baselines and the split.
        jobs: all of them, complete.
        build: settings, and a task to share data with -> the task.
        task: any of the comparison's.
        rows: the scores.
        out: folder of the comparison.
    """
    facts = dict(task.facts(settings.split))
    parts: dict[str, list[Mapping[str, Sums]]] = {}
    for job in (job for job in jobs if job.scored):
        parts.setdefault(job.variant, []).append(load_blocks(job.sums_file(settings.split)))
    content = {
        "facts": facts | when_and_where(),
        "columns": [asdict(column) for column in task.columns],
        "parents": {
            name: variant.start_from or variant.run_of
            for name, variant in settings.variants.items()
        },
        "rows": [
            {"forecaster": row.name, "seed": seed, **facts, **scores.document()}
            for row in rows
            for seed, scores in row.scores.items()
        ],
        "differences": [
            asdict(found) for found in differences(parts, task.read_columns, task.columns)
        ],
    }
    write_json(out / "scores.json", content)
    first = settings.seeds[0]
    for job in (job for job in jobs if job.seed == first and job.scored):
        task = build(job.settings, task)  # variants may differ in their model
        model = forecaster(job, task)
        for caption, picture in task.pictures(model, settings.split).items():
            # A colon, as times have, is not for every file system.
            name = f"{job.variant}, {caption}.png".replace(":", "")
            _write_picture(out / "pictures" / name, picture)
    report(out)


def report(out: Path) -> Table:
    """Write ``table.md``, ``table.csv``, ``significance.csv`` and ``report.html`` from what a
    comparison left in `out`.

    Raises:
        ConfigError: there are no results of a comparison.
    """
    try:
        content = json.loads((out / "scores.json").read_text())
        columns = tuple(Column(**column) for column in content["columns"])
        facts, parents = content["facts"], content["parents"]
        blocks = [Difference(**found) for found in content["differences"]]
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
        if run.parent.name in parents  # a run of an earlier comparison in this folder is not shown
    }
    pictures = {
        path.stem: path.read_bytes()
        for path in sorted(out.glob("pictures/*.png"))
        if path.stem.partition(", ")[0] in parents
    }
    found = contrasts(table, blocks)
    for name, text in {
        "table.md": table.markdown(),
        "table.csv": table.csv(),
        "significance.csv": as_csv(found),
    }.items():
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
            sections=as_sections(found, references(parents, list(scores))),
        ),
    )
    return table


def board_command(out: Path) -> str:
    """The command that shows a comparison's curves in a browser."""
    return f"nowcast board {out}"


def _write_picture(path: Path, picture: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    _, data = cv2.imencode(".png", picture[..., ::-1])
    path.write_bytes(data.tobytes())
