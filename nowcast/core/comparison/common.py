"""What several comparisons have in common, and notes on what is left out since some lack it."""

from collections.abc import Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import Any

from nowcast.core.comparison.stored import SCORES, Stored, read_results
from nowcast.core.errors import ConfigError
from nowcast.core.scoring.sums import is_no_score
from nowcast.core.scoring.table import Column, Row
from nowcast.core.system.machine import when_and_where

AVERAGE = "average"  # the column over all comparisons
DIFFERS = "differs by comparison"
SEARCHED = "searched"  # a fact that the notes repeat

Comparisons = Mapping[str, Stored]
Seeds = Mapping[str, Sequence[int | None]]


def read_all(
    folders: Sequence[Path], out: Path, given: Sequence[str | None] | None = None
) -> dict[str, Stored]:
    """The comparisons by name.

    Args:
        folders: of the comparisons.
        out: folder of the table that they enter.
        given: a name for each folder; None is that of the folder.

    Raises:
        ConfigError: there are fewer than two, one cannot enter the table, or `out` holds one.
    """
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
        if not main_columns(stored):
            raise ConfigError(f"{folder}: expected a main score, found none; leave it out")
    return comparisons


def main_columns(stored: Stored) -> list[Column]:
    """Those that enter the table."""
    return [column for column in stored.table.columns if column.main]


def rows_of(stored: Stored) -> dict[str, Row]:
    """Forecaster -> its scores."""
    return {row.name: row for row in stored.table.rows}


def common_forecasters(comparisons: Comparisons) -> tuple[list[str], list[str]]:
    """Those that all comparisons have, in the order of the first, and a note on each other one.

    Raises:
        ConfigError: there is none.
    """
    rows = {name: rows_of(stored) for name, stored in comparisons.items()}
    everyone = dict.fromkeys(name for own in rows.values() for name in own)
    lacking = {name: [place for place, own in rows.items() if name not in own] for name in everyone}
    common = [name for name, places in lacking.items() if not places]
    if not common:
        found = "; ".join(f"{place} has {', '.join(own) or 'none'}" for place, own in rows.items())
        raise ConfigError(
            f"expected a forecaster that all comparisons have, found none: {found}; combine "
            "comparisons of the same variants"
        )
    return common, [
        f"{name} is left out: not in {', '.join(places)}."
        for name, places in lacking.items()
        if places
    ]


def common_seeds(comparisons: Comparisons, names: Sequence[str]) -> tuple[Seeds, list[str]]:
    """Of each forecaster those that all comparisons have, and notes on the others.

    Raises:
        ConfigError: a forecaster has none.
    """
    seeds: dict[str, Sequence[int | None]] = {}
    left: dict[tuple[str, str], list[str]] = {}  # comparison and seeds -> forecasters
    for name in names:
        own = {place: list(rows_of(stored)[name].scores) for place, stored in comparisons.items()}
        seeds[name] = [
            seed
            for seed in next(iter(own.values()))
            if all(seed in others for others in own.values())
        ]
        if not seeds[name]:
            found = "; ".join(f"{place} has {_listed(each)}" for place, each in own.items())
            raise ConfigError(
                f"{name}: expected a seed that all comparisons have, found none: {found}; train "
                "the same seeds in each"
            )
        for place, own_seeds in own.items():
            if surplus := [seed for seed in own_seeds if seed not in seeds[name]]:
                left.setdefault((place, _listed(surplus)), []).append(name)
    return seeds, [
        f"{place}: seeds {surplus} of {', '.join(forecasters)} are left out, since not all "
        "comparisons have them, and so are differences over blocks, which are of all seeds."
        for (place, surplus), forecasters in left.items()
    ]


def _listed(seeds: Sequence[int | None]) -> str:
    return ", ".join("no seed" if seed is None else str(seed) for seed in seeds)


def shared_facts(comparisons: Comparisons) -> dict[str, Any]:
    """Those that are the same in all comparisons; when and where is told of each."""
    first, *others = [stored.facts for stored in comparisons.values()]
    return {
        key: fact
        for key, fact in first.items()
        if key not in (*when_and_where(), SEARCHED)
        and all(key in facts and facts[key] == fact for facts in others)
    }


def common_parents(comparisons: Comparisons) -> dict[str, str | None]:
    """Of the variants that all comparisons have.

    Raises:
        ConfigError: they differ.
    """
    (first, start), *others = comparisons.items()
    common = {
        name: parent
        for name, parent in start.parents.items()
        if all(name in stored.parents for _, stored in others)
    }
    for place, stored in others:
        for name in common:
            wanted, found = _origin(start, name), _origin(stored, name)
            if wanted != found:
                raise ConfigError(
                    f"{place}: expected {name} to {wanted} as in {first}, found it to {found}; "
                    "combine comparisons of the same variants"
                )
    return common


def _origin(stored: Stored, name: str) -> str:
    parent = stored.parents[name]
    if parent is None:
        return "start from nothing"
    return f"{'score the runs of' if name in stored.same_runs else 'start from'} {parent}"


def common_configs(comparisons: Comparisons) -> dict[str, Any]:
    """Variant -> its config, with `DIFFERS` where comparisons do not have the same."""
    first, *others = [stored.configs for stored in comparisons.values()]
    return {
        name: reduce(_alike, [configs[name] for configs in others], config)
        for name, config in first.items()
        if all(name in configs for configs in others)
    }


def _alike(one: Any, other: Any) -> Any:
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        keys = dict.fromkeys([*one, *other])
        return {key: _alike(one.get(key, ...), other.get(key, ...)) for key in keys}
    return one if one == other else DIFFERS
