"""The table of runs that TensorBoard shows as HParams: what sets them apart, and what came out."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import metadata
from tensorboard.plugins.hparams.api_pb2 import (
    DATA_TYPE_BOOL,
    DATA_TYPE_FLOAT64,
    DATA_TYPE_STRING,
    STATUS_RUNNING,
    STATUS_SUCCESS,
    Experiment,
    HParamInfo,
    MetricInfo,
    MetricName,
)
from tensorboard.plugins.hparams.plugin_data_pb2 import (
    HParamsPluginData,
    SessionEndInfo,
    SessionStartInfo,
)

from nowcast.core.scoring.sums import Scores
from nowcast.core.storage.runs import Run

BEST_STEP = "valid_best/step"  # the metric that says at which step the others were

Value = str | float | bool
TYPES = {bool: DATA_TYPE_BOOL, float: DATA_TYPE_FLOAT64, str: DATA_TYPE_STRING}


def differing(configs: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Value]]:
    """Of each config the dotted keys in which not all agree; of a single one, all.

    A section is ``on`` or, where it is null, ``off``: its own keys count among those that have it.
    """
    plain = {name: dict(_flat(config)) for name, config in configs.items()}
    values: dict[str, list[Value]] = {}
    for config in plain.values():
        for key, value in config.items():
            values.setdefault(key, []).append(value)
    chosen = {key for key, own in values.items() if len(set(own)) > 1 or len(configs) == 1}
    mixed = {key for key in chosen if len({type(value) for value in values[key]}) > 1}
    return {
        name: {
            key: _text(value) if key in mixed else value
            for key, value in config.items()
            if key in chosen
        }
        for name, config in plain.items()
    }


def _text(value: Value) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _flat(config: Mapping[str, Any], above: str = "") -> Iterable[tuple[str, Value]]:
    for name, value in config.items():
        key = f"{above}{name}"
        if isinstance(value, Mapping):
            yield key, "on"
            yield from _flat(value, f"{key}.")
        elif value is None:
            yield key, "off"
        elif isinstance(value, bool | str):
            yield key, value
        elif isinstance(value, int | float):
            yield key, float(value)
        else:
            yield key, json.dumps(value)


def outcome(run: Run) -> dict[str, float]:
    """What is known of how a run ended, by tag: scores on a split, and those of its best step."""
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
        numbers |= {"valid_best/objective": result["best_objective"], BEST_STEP: best}
    return {tag: value for tag, value in numbers.items() if value is not None}


def columns(values: Iterable[Mapping[str, Value]], metrics: Iterable[str]) -> Summary:
    """The table's head: config keys with what they hold, and metrics by tag."""
    domains: dict[str, list[Value]] = {}
    for one in values:
        for key, value in one.items():
            domains.setdefault(key, []).append(value)
    experiment = Experiment(
        hparam_infos=[_column(key, domain) for key, domain in domains.items()],
        metric_infos=[MetricInfo(name=MetricName(tag=tag)) for tag in metrics],
    )
    return _summary(metadata.EXPERIMENT_TAG, HParamsPluginData(experiment=experiment))


def _column(key: str, values: list[Value]) -> HParamInfo:
    info = HParamInfo(name=key, type=TYPES[type(values[0])], differs=len(set(values)) > 1)
    if isinstance(values[0], float):
        info.domain_interval.min_value = min(values)
        info.domain_interval.max_value = max(values)
    else:
        info.domain_discrete.extend(sorted(set(values)))
    return info


def row(name: str, values: Mapping[str, Value], finished: bool) -> list[Summary]:
    """A run's line, but for its metrics, which are scalars of the run."""
    start = SessionStartInfo(group_name=name)
    for key, value in values.items():
        kind = {bool: "bool_value", float: "number_value", str: "string_value"}[type(value)]
        setattr(start.hparams[key], kind, value)
    end = SessionEndInfo(status=STATUS_SUCCESS if finished else STATUS_RUNNING)
    return [
        _summary(metadata.SESSION_START_INFO_TAG, HParamsPluginData(session_start_info=start)),
        _summary(metadata.SESSION_END_INFO_TAG, HParamsPluginData(session_end_info=end)),
    ]


def _summary(tag: str, content: HParamsPluginData) -> Summary:
    value = Summary.Value(
        tag=tag, metadata=metadata.create_summary_metadata(content), tensor=metadata.NULL_TENSOR
    )
    return Summary(value=[value])
