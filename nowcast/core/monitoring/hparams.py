"""The table of runs that TensorBoard shows as HParams: what sets them apart, and their results."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import summary_v2 as hp

from nowcast.core.scoring.sums import Scores
from nowcast.core.storage.runs import Run

Values = Mapping[str, str | float]  # of a run, by dotted config key


def differing(configs: Mapping[str, Mapping[str, Any]]) -> dict[str, Values]:
    """The dotted keys in which the configs differ, with each config's values; all of a single one.

    A section is ``on`` or, where it is null, ``off``: its own keys count among those that have it.
    A key with numbers in some configs and text in others is text in all.
    """
    flat = {name: dict(_flat(config)) for name, config in configs.items()}
    values: dict[str, set[str | float]] = {}
    for config in flat.values():
        for key, value in config.items():
            values.setdefault(key, set()).add(value)
    mixed = {key for key, all_of in values.items() if len(set(map(type, all_of))) > 1}
    return {
        name: {
            key: f"{value:g}" if key in mixed and isinstance(value, float) else value
            for key, value in config.items()
            if len(values[key]) > 1 or len(configs) == 1
        }
        for name, config in flat.items()
    }


def _flat(config: Mapping[str, Any], above: str = "") -> Iterable[tuple[str, str | float]]:
    for name, value in config.items():
        key = f"{above}{name}"
        if isinstance(value, Mapping):
            yield key, "on"
            yield from _flat(value, f"{key}.")
        elif value is None:
            yield key, "off"
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield key, float(value)
        else:
            yield key, value if isinstance(value, str) else json.dumps(value)


def results(run: Run) -> dict[str, float]:
    """A run's scores by tag: on each split, and of its best step on the validation split."""
    numbers: dict[str, float | None] = {}
    for path in sorted(run.folder.glob("scores_*.json")):
        split = path.stem.removeprefix("scores_")
        scores = Scores.from_document(json.loads(path.read_text())).values
        numbers |= {f"{split}/{name}": value for name, value in scores.items()}
    if run.is_finished:
        result = run.result()
        best = result["best_step"]
        for entry in run.history():
            if entry["step"] == best and "valid" in entry:
                numbers |= {f"valid_best/{name}": value for name, value in entry["valid"].items()}
        numbers |= {"valid_best/objective": result["best_objective"], "valid_best/step": best}
    return {tag: value for tag, value in numbers.items() if value is not None}


def table_head(rows: Iterable[Values], metrics: Iterable[str]) -> Summary:
    """The table's columns: config keys with the values that they take, and metrics by tag."""
    values: dict[str, set[Any]] = {}
    for row in rows:
        for key, value in row.items():
            values.setdefault(key, set()).add(value)
    columns = [hp.HParam(key, hp.Discrete(taken)) for key, taken in values.items()]
    return hp.hparams_config_pb(columns, [hp.Metric(tag) for tag in metrics])


def table_row(name: str, values: Values, is_finished: bool) -> list[Summary]:
    """A run's row without its metrics, which are scalars of the run."""
    from torch.utils.tensorboard.summary import hparams

    row = hp.hparams_pb(values, trial_id=name, start_time_secs=0)
    _, _, success = hparams({}, {})  # type: ignore[no-untyped-call]
    return [row, success] if is_finished else [row]
