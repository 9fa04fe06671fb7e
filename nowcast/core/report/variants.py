"""The variants of a comparison in one table: what each starts from, its config and its origin."""

import json
import platform
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch

import nowcast
from nowcast.core.scoring.sums import flat
from nowcast.core.scoring.table import DASH

# Of one run, or the path of its parent, whose name is in the table.
OF_ONE_RUN = ("train.seed", "start_from")
HEADER = ("Variant", "Comes from", "Config", "Origin by seed")

Nested = Mapping[str, Any]


def versions() -> dict[str, str]:
    """Of this program and what its results depend on most."""
    return {
        "nowcast": nowcast.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
    }


def differing(configs: Mapping[str, Nested]) -> dict[str, dict[str, Any]]:
    """Dotted key -> variant -> value (``...``: not set), where resolved configs differ."""
    plain = {name: flat(config) for name, config in configs.items()}
    values = {
        key: {name: config.get(key, ...) for name, config in plain.items()}
        for key in dict.fromkeys(key for config in plain.values() for key in config)
        if key not in OF_ONE_RUN
    }
    return {
        key: own
        for key, own in values.items()
        # `memel: null` only says that there are no keys below it.
        if not any(other.startswith(f"{key}.") for other in values)
        and any(value != next(iter(own.values())) for value in own.values())
    }


def variant_table(
    parents: Mapping[str, str | None],
    edges: Mapping[str, str],
    baselines: Iterable[str],
    configs: Mapping[str, Nested],
    origins: Mapping[str, Nested],
) -> tuple[list[list[str]], dict[str, str]]:
    """One row a variant under `HEADER`, then the baselines, and what all origins share.

    Args:
        parents: variant -> what it comes from; None: nothing.
        edges: variant -> how it comes from its parent, where that is not by fine-tuning.
        baselines: forecasters that were never trained.
        configs: variant -> its resolved config; where all agree, it is not listed.
        origins: ``variant/seed 0`` -> the content of that run's ``origin.json``.
    """
    keys = differing(configs)
    plain = {run: flat(origin) for run, origin in origins.items()}
    texts = {
        key: {run: _text(origin.get(key, ...)) for run, origin in plain.items()}
        for key in dict.fromkeys(key for origin in plain.values() for key in origin)
    }
    shared = {
        key: next(iter(own.values())) for key, own in texts.items() if len({*own.values()}) == 1
    }
    seeds: dict[str, dict[str, list[str]]] = {}  # variant -> text -> seeds
    for run in plain if len(shared) < len(texts) else ():
        variant, _, seed = run.rpartition("/seed ")
        text = ", ".join(f"{key} {own[run]}" for key, own in texts.items() if key not in shared)
        seeds.setdefault(variant, {}).setdefault(text, []).append(seed)
    rows = []
    for name, parent in parents.items():
        how = edges.get(name, "from scratch" if parent is None else "fine-tuned from")
        config = [f"{key}: {_text(own[name])}" for key, own in keys.items() if name in own]
        origin = [f"{', '.join(own)}: {text}" for text, own in seeds.get(name, {}).items()]
        rows.append(
            [
                name,
                how if parent is None else f"{how} {parent}",
                "\n".join(config) or DASH,
                "\n".join(origin) or DASH,
            ]
        )
    return rows + [[name, "baseline, not trained", DASH, DASH] for name in baselines], shared


def _text(value: object) -> str:
    if value is ...:
        return DASH
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
