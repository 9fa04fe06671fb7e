"""Precipitation nowcasting from radar, with monosemantic neurons proactively inhibited (MEmeL).

The public names are `MEmeL`, `plug_in` and `unplug` for any network, and `load`, `forecast`,
`evaluate`, `train` and `compare` for whole forecasters; `__init__.pyi` has their types.
"""

from importlib import import_module
from typing import Any

__all__ = [
    "MEmeL",
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
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'nowcast' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *_HOMES]
