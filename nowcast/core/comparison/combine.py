"""`nowcast combine`: comparisons of the same variants in one table, data sets side by side."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import reduce
from itertools import combinations
from pathlib import Path
from statistics import fmean
from typing import Any
from urllib.parse import quote

import numpy as np
from scipy import stats

from nowcast.core.comparison.results import report
from nowcast.core.comparison.statistics.bootstrap import Difference, corrected
from nowcast.core.comparison.stored import FILMS, SCORES, Stored, read_results
from nowcast.core.errors import ConfigError
from nowcast.core.report.player import write_films
from nowcast.core.report.variants import versions
from nowcast.core.scoring.sums import Scores, is_no_score
from nowcast.core.scoring.table import Column, Row, Table
from nowcast.core.storage.files import write_json
from nowcast.core.system.machine import when_and_where

AVERAGE = "average"  # the column over all comparisons
DIFFERS = "differs by comparison"
SEARCHED = "searched"  # a fact that the notes repeat

Comparisons = Mapping[str, Stored]
Seeds = Mapping[str, Sequence[int | None]]  # forecaster -> those that all comparisons have


def combine(folders: Sequence[Path], out: Path, given: Sequence[str | None] | None = None) -> Table:
    """Write one table of finished comparisons, with its report page, into `out`.

    The main columns stand side by side as ``NAME/score``. If less is better for all of them, or
    more for all, their mean seed by seed is one more column.

    Args:
        folders: of two comparisons or more.
        out: folder of the table.
        given: a name for each comparison; None: that of its folder.

    Raises:
        ConfigError: a folder has no comparison or a name that cannot be used, the comparisons have
            no forecaster or no seed in common, or variants start from different ones.
    """
    comparisons = _read(folders, out, given)
    seeds, notes = _common_seeds(comparisons)
    columns = _columns(comparisons)
    differences = _differences(comparisons, seeds)
    average = _average(columns)
    rows = [
        Row(name, {seed: _scores(comparisons, name, seed, average is not None) for seed in own})
        for name, own in seeds.items()
    ]
    if average is not None:
        columns.append(average)
        means, note = _average_differences(comparisons, differences, list(seeds))
        differences += means
        notes.append(note)
    notes += [f"{name}: {note}" for name, stored in comparisons.items() for note in stored.notes]
    equivalence, differing = _common_equivalence(comparisons)
    notes += differing
    now = when_and_where()
    first, *others = comparisons.values()
    shared = {
        key: fact
        for key, fact in first.facts.items()
        if key not in (*now, SEARCHED)
        and all(key in other.facts and other.facts[key] == fact for other in others)
    }
    parents = _common_parents(comparisons)
    here = (
        out.resolve()
    )  # links and paths are relative to it, so that folders can be moved together
    content = {
        "facts": shared | {"comparisons": ", ".join(comparisons)} | now,
        "notes": notes,
        "columns": [asdict(column) for column in columns],
        "parents": parents,
        "edges": {name: edge for name, edge in first.edges.items() if name in parents},
        "references": {name: other for name, other in first.references.items() if name in parents},
        "same_runs": [name for name in first.same_runs if name in parents],
        "equivalence": equivalence,
        "rows": [
            {"forecaster": row.name, "seed": seed, **scores.document()}
            for row in rows
            for seed, scores in row.scores.items()
        ],
        "configs": {
            name: reduce(_shared_config, [other.configs[name] for other in others], config)
            for name, config in first.configs.items()
            if all(name in other.configs for other in others)
        },
        "versions": versions(),
        "runs": {
            f"{name}/{run}": os.path.relpath(folder.resolve(), here)
            for name, stored in comparisons.items()
            for run, folder in stored.runs.items()
        },
        "differences": [asdict(difference) for difference in differences],
        "comparisons": {
            name: {
                "page": quote(os.path.relpath(folder.resolve() / "report.html", here)),
                "facts": {
                    key: fact
                    for key, fact in stored.facts.items()
                    if key not in (*shared, SEARCHED)
                },
            }
            for folder, (name, stored) in zip(folders, comparisons.items(), strict=True)
        },
    }
    write_films(out / FILMS, ())
    write_json(out / SCORES, content)
    return report(out)


def _read(
    folders: Sequence[Path], out: Path, given: Sequence[str | None] | None
) -> dict[str, Stored]:
    """Name -> comparison; raises ConfigError if they cannot stand in one table."""
    names = [
        name or folder.resolve().name
        for name, folder in zip(given or [None] * len(folders), folders, strict=True)
    ]
    if len(folders) < 2:
        raise ConfigError(
            f"expected two comparisons or more, found {len(folders)}; name their folders"
        )
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(
            f"expected folders of different names, found {', '.join(twice)} twice; comparisons are "
            "told apart by them: rename one, or name it: NAME=DIR"
        )
    if (out / SCORES).is_file() and not read_results(out).comparisons:
        raise ConfigError(f"{out}: there is a comparison in it; choose another folder for --out")
    comparisons = {name: read_results(folder) for name, folder in zip(names, folders, strict=True)}
    facts = {key for stored in comparisons.values() for key in stored.facts}
    for folder, (name, stored) in zip(folders, comparisons.items(), strict=True):
        if stored.comparisons:
            raise ConfigError(
                f"{folder}: expected one comparison, found a table of several; name those: "
                f"{', '.join(stored.comparisons)}"
            )
        taken = {*facts, "forecaster", "seed", "comparisons", AVERAGE}
        if name in taken or is_no_score(name):
            raise ConfigError(
                f"{folder}: {name} has a meaning in {SCORES}; rename the folder, or name it: "
                "NAME=DIR"
            )
        if not _main(stored):
            raise ConfigError(f"{folder}: expected a main score, found none; leave it out")
    return comparisons


def _main(stored: Stored) -> list[Column]:
    return [column for column in stored.table.columns if column.main]


def _common_seeds(comparisons: Comparisons) -> tuple[Seeds, list[str]]:
    """The forecasters and seeds that all comparisons have, in the order of the first, and notes on
    those that are left out; raises ConfigError if there are none."""
    rows = {
        name: {row.name: list(row.scores) for row in stored.table.rows}
        for name, stored in comparisons.items()
    }
    seeds: dict[str, Sequence[int | None]] = {}
    notes: list[str] = []
    left_out: dict[tuple[str, str], list[str]] = {}  # comparison and seeds -> forecasters
    for forecaster in dict.fromkeys(each for own in rows.values() for each in own):
        if lacking := [name for name, own in rows.items() if forecaster not in own]:
            notes.append(f"{forecaster} is left out: not in {', '.join(lacking)}.")
            continue
        by_comparison = {name: own[forecaster] for name, own in rows.items()}
        common = set.intersection(*map(set, by_comparison.values()))
        if not common:
            listed = "; ".join(f"{name} has {_listed(own)}" for name, own in by_comparison.items())
            raise ConfigError(
                f"{forecaster}: expected a seed that all comparisons have, found none: {listed}; "
                "train the same seeds in each"
            )
        seeds[forecaster] = [seed for seed in next(iter(by_comparison.values())) if seed in common]
        for name, own in by_comparison.items():
            if surplus := [seed for seed in own if seed not in common]:
                left_out.setdefault((name, _listed(surplus)), []).append(forecaster)
    if not seeds:
        listed = "; ".join(f"{name} has {', '.join(own) or 'none'}" for name, own in rows.items())
        raise ConfigError(
            f"expected a forecaster that all comparisons have, found none: {listed}; combine "
            "comparisons of the same variants"
        )
    notes += [
        f"{name}: seeds {surplus} of {', '.join(forecasters)} are left out, since not all "
        "comparisons have them, and so are differences over blocks, which are of all seeds."
        for (name, surplus), forecasters in left_out.items()
    ]
    return seeds, notes


def _common_equivalence(comparisons: Comparisons) -> tuple[float | None, list[str]]:
    """The bound of all; where they differ there is none, with a note that says so."""
    bounds = {name: stored.equivalence for name, stored in comparisons.items()}
    if len(set(bounds.values())) == 1:
        return next(iter(bounds.values())), []
    listed = ", ".join(f"{name} {bound or 'none'}" for name, bound in bounds.items())
    return None, [f"No equivalence bound here, since the comparisons differ: {listed}."]


def _listed(seeds: Sequence[int | None]) -> str:
    return ", ".join("no seed" if seed is None else str(seed) for seed in seeds)


def _columns(comparisons: Comparisons) -> list[Column]:
    """The main columns of all; the comparison's name is added to headers that several have."""
    headers = [each for s in comparisons.values() for each in {c.header for c in _main(s)}]
    return [
        replace(
            column,
            score=f"{name}/{column.score}",
            header=f"{name} {column.header}" if headers.count(column.header) > 1 else column.header,
        )
        for name, stored in comparisons.items()
        for column in _main(stored)
    ]


def _scores(comparisons: Comparisons, forecaster: str, seed: int | None, average: bool) -> Scores:
    """Main scores of one forecaster and seed, and their average; curves stay on each own page."""
    values: dict[str, float | None] = {}
    why: dict[str, str] = {}
    support: dict[str, int] = {}
    for name, stored in comparisons.items():
        (row,) = (row for row in stored.table.rows if row.name == forecaster)
        own = row.scores[seed]
        for score in (column.score for column in _main(stored)):
            values[f"{name}/{score}"] = own.values.get(score)
            if score in own.why:
                why[f"{name}/{score}"] = own.why[score]
        support |= {f"{name}/{what}": count for what, count in own.support.items()}
    if average:
        undefined = [score for score, value in values.items() if value is None]
        defined = [value for value in values.values() if value is not None]
        values[AVERAGE] = None if undefined else fmean(defined)
        if undefined:
            why[AVERAGE] = f"undefined: {', '.join(undefined)}"
    return Scores(values, {}, "place", (), support=support, why=why)


def _average(columns: Sequence[Column]) -> Column | None:
    """None if less is better for some and more for others, or the nearer to one."""
    best = {column.best for column in columns}
    if len(best) > 1 or not best <= {"less", "more"}:
        return None
    perfect = {column.perfect for column in columns}
    limits = {column.limits for column in columns}
    return replace(
        columns[0],
        score=AVERAGE,
        header=AVERAGE,
        digits=min(column.digits for column in columns),
        perfect=perfect.pop() if len(perfect) == 1 else None,
        limits=limits.pop() if len(limits) == 1 else (None, None),
    )


def _differences(comparisons: Comparisons, seeds: Seeds) -> list[Difference]:
    """Differences over blocks of forecasters of which no seed is left out, with Holm's correction
    made again for the pairs of this table, which may be fewer."""
    differences = []
    for name, stored in comparisons.items():
        whole = {
            row.name for row in stored.table.rows if set(row.scores) == set(seeds.get(row.name, ()))
        }
        for score in (column.score for column in _main(stored)):
            differences += corrected(
                [
                    replace(each, score=f"{name}/{score}")
                    for each in stored.differences
                    if each.score == score and {each.one, each.other} <= whole
                ]
            )
    return differences


def _average_differences(
    comparisons: Comparisons, differences: Sequence[Difference], names: Sequence[str]
) -> tuple[list[Difference], str]:
    """Differences of the average over blocks if each comparison has data of its own, and a note."""
    scores = [[f"{n}/{column.score}" for column in _main(s)] for n, s in comparisons.items()]
    start = (
        f"{AVERAGE}: the mean of the {sum(map(len, scores))} columns, seed by seed; undefined if "
        "one is."
    )
    data = {stored.facts.get("data") for stored in comparisons.values()}
    if None in data or len(data) < len(comparisons):
        return [], (
            f"{start} It has no test over blocks: only comparisons of different data are "
            "independent."
        )
    tested = {
        (each.score, each.one, each.other): each
        for difference in differences
        if difference.low is not None
        for each in (difference, difference.turned())
    }
    means = [
        _mean_difference([[tested[score, *pair] for score in own] for own in scores])
        for pair in combinations(names, 2)
        if all((score, *pair) in tested for own in scores for score in own)
    ]
    return corrected(means), (
        f"{start} Its test over blocks takes comparisons of different data as independent: their "
        "standard errors add in squares, those of columns of one comparison as they are, which is "
        "an upper bound; degrees of freedom after Welch and Satterthwaite. A pair without an "
        "interval in one column has none here."
    )


def _mean_difference(data_sets: Sequence[Sequence[Difference]]) -> Difference:
    """The mean of one pair's differences, by data set and column.

    Data sets are independent, so variances of their means add up. Columns of one data set are not:
    their standard errors add up, which is never less than the true one. Degrees of freedom:
    Welch and Satterthwaite (Satterthwaite 1946, doi:10.2307/3002019).
    """
    columns = [each for own in data_sets for each in own]
    value = float(np.mean([each.value for each in columns]))
    errors = np.array([sum(map(_standard_error, own)) / len(columns) for own in data_sets])
    freedoms = np.array([own[0].blocks - 1 for own in data_sets])
    error = float(np.sqrt((errors**2).sum()))
    half, p = 0.0, None
    if error:
        shares = (errors / error) ** 2  # of the variance
        freedom = 1 / float((shares**2 / freedoms).sum())
        half = float(stats.t.ppf(0.975, freedom)) * error
        p = 2 * float(stats.t.sf(abs(value) / error, freedom))
    return replace(
        columns[0],
        score=AVERAGE,
        value=value,
        low=value - half,
        high=value + half,
        p=p,
        p_holm=p,
        blocks=sum(own[0].blocks for own in data_sets),
    )


def _standard_error(difference: Difference) -> float:
    """The one that its interval was made of."""
    assert difference.low is not None and difference.high is not None
    half = (difference.high - difference.low) / 2
    return half / float(stats.t.ppf(0.975, difference.blocks - 1))


def _common_parents(comparisons: Comparisons) -> dict[str, str | None]:
    """Parents of the variants that all comparisons have; raises ConfigError if they differ."""
    (first, start), *others = comparisons.items()
    common = {
        name: parent
        for name, parent in start.parents.items()
        if all(name in stored.parents for _, stored in others)
    }
    for comparison, stored in others:
        for name in common:
            expected, actual = _descent(start, name), _descent(stored, name)
            if expected != actual:
                raise ConfigError(
                    f"{comparison}: expected {name} to {expected} as in {first}, found it to "
                    f"{actual}; combine comparisons of the same variants"
                )
    return common


def _descent(stored: Stored, name: str) -> str:
    parent = stored.parents[name]
    if parent is None:
        return "start from nothing"
    return f"{'score the runs of' if name in stored.same_runs else 'start from'} {parent}"


def _shared_config(one: Any, other: Any) -> Any:
    """What two configs share, with `DIFFERS` where they do not."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        keys = dict.fromkeys([*one, *other])
        return {key: _shared_config(one.get(key, ...), other.get(key, ...)) for key in keys}
    return one if one == other else DIFFERS
