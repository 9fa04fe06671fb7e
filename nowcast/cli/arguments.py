"""What arguments of the command line mean: a config, and what changes it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from nowcast.core.settings import CompareSettings, RunSettings

Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE ...]", help="Dotted config keys, e.g. train.steps=100."),
]
Config = Annotated[Path, typer.Argument(help="A YAML file from configs/.")]


@dataclass(frozen=True)
class Resolve:
    """Dotted overrides -> the config with them; a class, so that it can travel to a process."""

    content: dict[str, Any]
    source: Path

    def __call__(self, changes: Mapping[str, object]) -> "RunSettings":
        return settings_of(self.content, self.source, dict(changes))


def comparison_of(content: dict[str, Any], source: Path) -> "CompareSettings | None":
    """Take a config's `compare:` section out of it, if there is one."""
    from nowcast.cli import config as configs
    from nowcast.core.settings import CompareSettings

    if "compare" not in content:
        return None
    if "tune" in content:
        from nowcast.core.errors import ConfigError

        raise ConfigError(f"{source}: with `compare:`, `tune:` belongs to one of its variants")
    return configs.validate(CompareSettings, content.pop("compare"), f"{source}, section compare")


def settings_of(
    content: dict[str, Any], source: object, changes: dict[str, Any], evaluating: bool = False
) -> "RunSettings":
    """The settings of a config's content with dotted overrides; raises ConfigError."""
    from nowcast import registry
    from nowcast.cli import config as configs

    content = configs.overridden(content, changes)
    for section in ("compare", "tune"):  # what is made of a run is no part of it
        content.pop(section, None)
    return configs.validate(
        registry.settings_class(content.get("task")), content, str(source), evaluating
    )


def parsed(overrides: list[str] | None) -> dict[str, Any]:
    """What ``key=value`` arguments say; raises ConfigError."""
    from nowcast.cli import config as configs

    return configs.parse_overrides(overrides or [])
