"""Several comparisons of the same variants in one table: data sets side by side, and an average."""

import os
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from statistics import fmean
from urllib.parse import quote

from nowcast.core.comparison.common import (
    AVERAGE,
    SEARCHED,
    Comparisons,
    Seeds,
    common_configs,
    common_forecasters,
    common_parents,
    common_seeds,
    main_columns,
    read_all,
    rows_of,
    shared_facts,
)
from nowcast.core.comparison.results import report
from nowcast.core.comparison.statistics.bootstrap import Difference, corrected
from nowcast.core.comparison.statistics.pooled import pooled
from nowcast.core.comparison.stored import FILMS, SCORES
from nowcast.core.report.player import write_films
from nowcast.core.report.provenance import versions
from nowcast.core.scoring.sums import Scores
from nowcast.core.scoring.table import Column, Row, Table
from nowcast.core.storage.files import write_json
from nowcast.core.system.machine import when_and_where


def combine(folders: Sequence[Path], out: Path, given: Sequence[str | None] | None = None) -> Table:
    """Write one table of finished comparisons, with its report page, into `out`.

    The main columns of each stand side by side as ``NAME/score``, NAME being the name that is given
    or that of its folder. If for all of them less is better, or for all more, their mean seed by
    seed is one more column.

    Args:
        folders: of two comparisons or more.
        out: folder of the table.
        given: a name for each folder; None is that of the folder.

    Raises:
        ConfigError: a folder holds no comparison or its name cannot be used, no forecaster or no
            seed is common to all, or variants descend differently.
    """
    comparisons = read_all(folders, out, given)
    names, notes = common_forecasters(comparisons)
    seeds, more = common_seeds(comparisons, names)
    columns = _columns(comparisons)
    rows = [
        Row(name, {seed: _scores(comparisons, name, seed) for seed in seeds[name]})
        for name in names
    ]
    differences = _differences(comparisons, seeds)
    average = _average(columns)
    notes += more
    if average is not None:
        rows = [_averaged(row, columns) for row in rows]
        means, note = _average_over_blocks(comparisons, differences, names)
        differences += means
        columns = [*columns, average]
        notes.append(note)
    shared = shared_facts(comparisons)
    parents = common_parents(comparisons)
    first = next(iter(comparisons.values()))
    place = out.resolve()
    content = {
        "facts": shared | {"comparisons": ", ".join(comparisons)} | when_and_where(),
        "notes": notes
        + [f"{name}: {note}" for name, stored in comparisons.items() for note in stored.notes],
        "columns": [asdict(column) for column in columns],
        "parents": parents,
        "edges": {name: edge for name, edge in first.edges.items() if name in parents},
        "references": {n: other for n, other in first.references.items() if n in parents},
        "same_runs": [name for name in first.same_runs if name in parents],
        "rows": [
            {"forecaster": row.name, "seed": seed, **scores.document()}
            for row in rows
            for seed, scores in row.scores.items()
        ],
        "configs": common_configs(comparisons),
        "versions": versions(),
        # Relative, as those of a comparison.
        "runs": {
            f"{name}/{run}": os.path.relpath(folder.resolve(), place)
            for name, stored in comparisons.items()
            for run, folder in stored.runs.items()
        },
        "differences": [asdict(found) for found in differences],
        "comparisons": {
            name: {
                "page": quote(os.path.relpath(folder.resolve() / "report.html", place)),
                "facts": {
                    key: fact
                    for key, fact in stored.facts.items()
                    if key not in shared and key != SEARCHED
                },
            }
            for folder, (name, stored) in zip(folders, comparisons.items(), strict=True)
        },
    }
    write_films(out / FILMS, ())
    write_json(out / SCORES, content)
    return report(out)


def _columns(comparisons: Comparisons) -> list[Column]:
    """The main ones of all; a header that several comparisons have is told apart by their name."""
    headers = {
        name: {column.header for column in main_columns(stored)}
        for name, stored in comparisons.items()
    }
    counts = [header for own in headers.values() for header in own]
    return [
        replace(
            column,
            score=f"{name}/{column.score}",
            header=f"{name} {column.header}" if counts.count(column.header) > 1 else column.header,
        )
        for name, stored in comparisons.items()
        for column in main_columns(stored)
    ]


def _scores(comparisons: Comparisons, forecaster: str, seed: int | None) -> Scores:
    """Of one forecaster and seed by the main columns, with what they rest on; curves are of each
    comparison alone."""
    values: dict[str, float | None] = {}
    why: dict[str, str] = {}
    support: dict[str, int] = {}
    for name, stored in comparisons.items():
        own = rows_of(stored)[forecaster].scores[seed]
        scores = [column.score for column in main_columns(stored)]
        values |= {f"{name}/{score}": own.values.get(score) for score in scores}
        why |= {f"{name}/{score}": own.why[score] for score in scores if score in own.why}
        support |= {f"{name}/{what}": count for what, count in own.support.items()}
    return Scores(values, {}, "place", (), support=support, why=why)


def _average(columns: Sequence[Column]) -> Column | None:
    """None where less is better by some and more by others, or the nearer to one."""
    best = {column.best for column in columns}
    if len(best) > 1 or "one" in best:
        return None
    digits = min(column.digits for column in columns)
    perfect = {column.perfect for column in columns}
    limits = {column.limits for column in columns}
    return replace(
        columns[0],
        score=AVERAGE,
        header=AVERAGE,
        digits=digits,
        perfect=perfect.pop() if len(perfect) == 1 else None,
        limits=limits.pop() if len(limits) == 1 else (None, None),
    )


def _averaged(row: Row, columns: Sequence[Column]) -> Row:
    """The same with the average, seed by seed."""

    def with_average(scores: Scores) -> Scores:
        values = [scores.values[column.score] for column in columns]
        defined = [value for value in values if value is not None]
        if len(defined) == len(values):
            return replace(scores, values={**scores.values, AVERAGE: fmean(defined)})
        lacking = [column.score for column in columns if scores.values[column.score] is None]
        return replace(
            scores,
            values={**scores.values, AVERAGE: None},
            why={**scores.why, AVERAGE: f"undefined: {', '.join(lacking)}"},
        )

    return Row(row.name, {seed: with_average(scores) for seed, scores in row.scores.items()})


def _differences(comparisons: Comparisons, seeds: Seeds) -> list[Difference]:
    """Those over blocks by the main columns, where no seed of the two is left out.

    They are corrected anew: over the pairs of this table, which may be fewer.
    """
    found = []
    for name, stored in comparisons.items():
        scores = [column.score for column in main_columns(stored)]
        whole = {
            forecaster
            for forecaster, row in rows_of(stored).items()
            if set(row.scores) == set(seeds.get(forecaster, ()))
        }
        for score in scores:
            found += corrected(
                [
                    replace(each, score=f"{name}/{score}")
                    for each in stored.differences
                    if each.score == score and {each.one, each.other} <= whole
                ]
            )
    return found


def _average_over_blocks(
    comparisons: Comparisons, found: Sequence[Difference], names: Sequence[str]
) -> tuple[list[Difference], str]:
    """Differences of the average, if comparisons are of different data, and what it is."""
    scores = [
        [f"{name}/{column.score}" for column in main_columns(stored)]
        for name, stored in comparisons.items()
    ]
    count = sum(map(len, scores))
    start = f"{AVERAGE}: the mean of the {count} columns, seed by seed; undefined if one is."
    data = {stored.facts.get("data") for stored in comparisons.values()}
    if None in data or len(data) < len(comparisons):
        return [], (
            f"{start} It has no test over blocks: only comparisons of different data are "
            "independent."
        )
    return pooled(found, scores, names, AVERAGE), (
        f"{start} Its test over blocks takes comparisons of different data as independent: their "
        "standard errors add in squares, those of columns of one comparison as they are, which is "
        "an upper bound; degrees of freedom after Welch and Satterthwaite. A pair without an "
        "interval in one column has none here."
    )
