"""The one file that knows every task: nowcast's own, and those that other packages add.

A package adds a task by an entry point of the group ``nowcast.tasks``, whose name is the task's and
which leads to an `Entry`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal

from nowcast.core.errors import ConfigError, did_you_mean
from nowcast.core.settings import RunSettings
from nowcast.core.system.plugins import added, loaded
from nowcast.core.terminal.progress import line
from nowcast.core.training.task import Task, checked

GROUP = "nowcast.tasks"


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


def names() -> list[str]:
    """Every task, nowcast's own first; raises ConfigError where packages clash."""
    return [*TASKS, *added(GROUP, TASKS)]


def settings_class(name: object) -> type[RunSettings]:
    """The settings of a task; raises ConfigError for an unknown or a broken one."""
    settings: object = _load(name, "settings")
    if not (isinstance(settings, type) and issubclass(settings, RunSettings)):
        raise ConfigError(
            f"{_whose(name)}: expected settings derived from {RunSettings.__module__}.RunSettings, "
            f"found {settings!r}; repair or uninstall the package"
        )
    return settings


def sections() -> set[str]:
    """Top-level keys that the config of any task can have."""
    return {"compare", "tune"}.union(*(settings_class(name).model_fields for name in names()))


def build(settings: RunSettings, reuse: Task | None = None) -> Task:
    """The task of a resolved config; data that `reuse` has open is shared where it is the same."""
    make: Callable[[RunSettings, Task | None], object] = _load(settings.task, "task")
    with line(f"opening the data of {settings.task}"):
        return checked(make(settings, reuse), _whose(settings.task))


def _whose(name: object) -> str:
    entry = added(GROUP, TASKS).get(str(name))
    return f"task {name}" if entry is None else f"task {name} of {entry.package}"


def _load(name: object, part: Literal["settings", "task"]) -> Any:
    if isinstance(name, str) and name in TASKS:
        module, _, attribute = getattr(TASKS[name], part).partition(":")
        return getattr(import_module(module), attribute)
    others = added(GROUP, TASKS)
    if not isinstance(name, str) or name not in others:
        known = [*TASKS, *others]
        raise ConfigError(
            f"task: expected one of {', '.join(known)}, found {name!r}{did_you_mean(name, known)}"
        )
    entry = loaded(others[name], Entry)
    return loaded(others[name], object, getattr(entry, part))
