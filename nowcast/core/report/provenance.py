"""What variants were made with: configs against the first one's, and the origins of their runs."""

import json
import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

import nowcast
from nowcast.core.scoring.table import DASH

# Of one run, or where its parent lies; which variant that is, the run graph shows.
OF_ONE_RUN = ("train.seed", "start_from")


@dataclass(frozen=True)
class Grid:
    """Texts by row and column, without a title."""

    header: list[str]
    rows: list[list[str]]


@dataclass(frozen=True)
class Origins:
    """Where runs come from.

    Args:
        shared: what is the same for all of them.
        differing: by variant and seed what is not; None: everything is the same.
    """

    shared: dict[str, str]
    differing: Grid | None


def versions() -> dict[str, str]:
    """Of this program and what its figures depend on most."""
    return {
        "nowcast": nowcast.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
    }


def config_differences(configs: Mapping[str, Mapping[str, Any]]) -> Grid | None:
    """Dotted keys in which resolved configs differ, and each one's value; None: in none.

    Args:
        configs: variant -> its config; the first is what others are set against, and a value
            equal to its own is not repeated.
    """
    flat = [dict(_flat(config)) for config in configs.values()]
    keys = dict.fromkeys(key for config in flat for key in config)
    rows = []
    for key in keys:
        # `memel: null` says no more than that there are no keys below it.
        if key in OF_ONE_RUN or any(other.startswith(f"{key}.") for other in keys):
            continue
        base, *others = [config.get(key, ...) for config in flat]
        if any(value != base for value in others):
            cells = ["" if value == base else _text(value) for value in others]
            rows.append([key, _text(base), *cells])
    return Grid(["Key", *configs], rows) if rows else None


def differing_keys(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Dotted keys in which two resolved configs differ, but for those that are of one run."""
    grid = config_differences({"one": one, "other": other})
    return [] if grid is None else [row[0] for row in grid.rows]


def origins(runs: Mapping[str, Mapping[str, Any]]) -> Origins:
    """What the origins of runs share, said once, and a table of the rest.

    Args:
        runs: ``variant/seed 0`` -> what its origin says.
    """
    flat = [dict(_flat(origin)) for origin in runs.values()]
    keys = dict.fromkeys(key for origin in flat for key in origin)
    texts = {key: [_text(origin.get(key, ...)) for origin in flat] for key in keys}
    shared = {key: found[0] for key, found in texts.items() if len(set(found)) == 1}
    differing = [key for key in keys if key not in shared]
    if not differing:
        return Origins(shared, None)
    # Variant by variant, and its seeds with the same cells in one row.
    folded: dict[str, dict[tuple[str, ...], list[str]]] = {}
    for place, run in enumerate(runs):
        variant, _, seed = run.rpartition("/seed ")
        cells = tuple(texts[key][place] for key in differing)
        folded.setdefault(variant, {}).setdefault(cells, []).append(seed)
    rows = [
        [variant, ", ".join(seeds), *cells]
        for variant, found in folded.items()
        for cells, seeds in found.items()
    ]
    return Origins(shared, Grid(["Variant", "Seed", *differing], rows))


def _flat(config: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in config.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value


def _text(value: object) -> str:
    if value is ...:
        return DASH
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
