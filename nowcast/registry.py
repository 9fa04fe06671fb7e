"""The one file that knows every task."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from nowcast.core.errors import ConfigError, did_you_mean
from nowcast.core.settings import RunSettings
from nowcast.core.terminal.progress import line
from nowcast.core.training.task import Task


@dataclass(frozen=True)
class Entry:
    """Where a task's settings and the task itself are; imported only when asked for.

    Args:
        settings: ``module:class`` of its `RunSettings`.
        task: ``module:class`` that builds a `Task` from them, and another task to share data with.
    """

    settings: str
    task: str


TASKS = {
    "precipitation": Entry(
        "nowcast.precipitation.settings:PrecipitationSettings",
        "nowcast.precipitation.task:PrecipitationTask",
    ),
    "glue": Entry("nowcast.glue.settings:GlueSettings", "nowcast.glue.task:GlueTask"),
    "imagenet": Entry(
        "nowcast.imagenet.settings:ImagenetSettings", "nowcast.imagenet.task:ImagenetTask"
    ),
}


def settings_class(name: object) -> type[RunSettings]:
    """The settings of a task; raises ConfigError for an unknown one."""
    found: type[RunSettings] = _load(_entry(name).settings)
    return found


def sections() -> set[str]:
    """Top-level keys that the config of any task can have."""
    return {"compare", "tune"}.union(*(settings_class(name).model_fields for name in TASKS))


def build(settings: RunSettings, reuse: Task | None = None) -> Task:
    """The task of a resolved config; data that `reuse` has open is shared where it is the same."""
    make: Callable[[RunSettings, Task | None], Task] = _load(_entry(settings.task).task)
    with line(f"opening the data of {settings.task}"):
        return make(settings, reuse)


def _entry(name: object) -> Entry:
    if not isinstance(name, str) or name not in TASKS:
        raise ConfigError(
            f"task: expected one of {', '.join(TASKS)}, found {name!r}{did_you_mean(name, TASKS)}"
        )
    return TASKS[name]


def _load(where: str) -> Any:
    module, _, name = where.partition(":")
    return getattr(import_module(module), name)
