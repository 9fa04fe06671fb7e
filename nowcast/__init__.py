"""Precipitation nowcasting from radar, with monosemantic neurons proactively inhibited (MEmeL).

The public names are `MEmeL`, `plug_in` and `unplug` for any network, and `load`, `forecast`,
`evaluate`, `train` and `compare` for whole forecasters, with `Nowcast.of` for a forecast to save
and ask, and `ProbabilityRequest` for what it says of its members; `__init__.pyi` has their types.
"""

from importlib import import_module
from typing import Any

__all__ = [
    "MEmeL",
    "Nowcast",
    "ProbabilityRequest",
    "compare",
    "evaluate",
    "forecast",
    "load",
    "plug_in",
    "train",
    "unplug",
]
__version__ = "0.2.0"

_HOMES = {
    "MEmeL": "nowcast.core.memel.layer",
    "Nowcast": "nowcast.api.forecast",
    "ProbabilityRequest": "nowcast.precipitation.forecasting.probabilities.request",
    "compare": "nowcast.api.compare",
    "evaluate": "nowcast.api.evaluate",
    "forecast": "nowcast.api.forecast",
    "load": "nowcast.api.forecasters",
    "plug_in": "nowcast.core.memel.plug",
    "train": "nowcast.api.train",
    "unplug": "nowcast.core.memel.plug",
}


def __getattr__(name: str) -> Any:
    # Resolved on first use, so that `import nowcast` and `nowcast --help` do not wait for torch.
    if name not in _HOMES:
        raise AttributeError(f"module 'nowcast' has no attribute {name!r}")
    try:
        return getattr(import_module(_HOMES[name]), name)
    except ModuleNotFoundError as missing:
        if (missing.name or "nowcast").startswith("nowcast"):
            raise
        raise ImportError(
            f"nowcast.{name} needs {missing.name}, which is not installed; "
            "pip install 'memel-nowcast[radar]', or [glue], [imagenet]"
        ) from missing


def __dir__() -> list[str]:
    return [*globals(), *_HOMES]
