"""Precipitation nowcasting from radar, with monosemantic neurons proactively inhibited (MEmeL)."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nowcast.core.memel.layer import MEmeL
    from nowcast.core.memel.plug import plug_in, unplug

__all__ = ["MEmeL", "plug_in", "unplug"]
__version__ = "0.2.0"

_HOMES = {
    "MEmeL": "nowcast.core.memel.layer",
    "plug_in": "nowcast.core.memel.plug",
    "unplug": "nowcast.core.memel.plug",
}


def __getattr__(name: str) -> Any:
    # Resolved on first use, so that `import nowcast` and `nowcast --help` do not wait for torch.
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'nowcast' has no attribute {name!r}")
