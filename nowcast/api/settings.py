"""A config by name, path or content, and overrides, as the settings of a run or a comparison."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nowcast import registry
from nowcast.api import config as configs
from nowcast.api.shipped_configs import path_of
from nowcast.core.errors import ConfigError
from nowcast.core.settings import CompareSettings, RunSettings
from nowcast.core.terminal.hints import did_you_mean

Config = str | Path | Mapping[str, Any]
"""The name of a config that comes with nowcast, the path of a YAML file, or its content."""


@dataclass(frozen=True)
class Resolve:
    """Dotted overrides -> the config with them; a class, so that it can be pickled."""

    content: dict[str, Any]
    source: str

    def __call__(self, changes: Mapping[str, object]) -> RunSettings:
        return settings_of(self.content, self.source, dict(changes))


def read(config: Config, overrides: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """The content of a config with dotted overrides, and what messages call it.

    Raises:
        ConfigError: there is no such config, or an override goes through something that is no
            section.
    """
    if isinstance(config, Mapping):
        return configs.overridden(config, overrides), "config"
    path = path_of(config)
    return configs.overridden(configs.read(path), overrides), str(path)


def dotted(overrides: Mapping[str, Any] | None, keywords: Mapping[str, Any]) -> dict[str, Any]:
    """Overrides of both kinds as dotted keys; paths become text.

    Args:
        overrides: by dotted keys.
        keywords: with ``__`` for the dot: ``train__steps`` is ``train.steps``.

    Raises:
        ConfigError: a key is given twice.
    """
    found = dict(overrides or {})
    for keyword, value in keywords.items():
        key = keyword.replace("__", ".")
        if key in found:
            raise ConfigError(f"{key}: given twice; leave one of them out")
        found[key] = value
    return {key: str(value) if isinstance(value, Path) else value for key, value in found.items()}


def settings_of(
    content: Mapping[str, Any], source: object, changes: dict[str, Any], evaluating: bool = False
) -> RunSettings:
    """The settings of a run from a config's content with dotted overrides.

    Args:
        content: of the config.
        source: what messages call it.
        changes: the overrides.
        evaluating: leave out the checks that only training needs.

    Raises:
        ConfigError: an unknown task, or whatever is wrong, one line each.
    """
    content = configs.overridden(content, changes)
    for section in ("compare", "tune"):  # of several runs
        content.pop(section, None)
    return configs.validate(
        registry.settings_class(content.get("task")), content, str(source), evaluating
    )


def comparison_of(
    config: Config, overrides: Mapping[str, Any]
) -> tuple[CompareSettings | None, Resolve]:
    """The ``compare:`` section of a config, None if it has none, and what resolves its variants.

    Raises:
        ConfigError: as `read`, or the section is wrong.
    """
    content, source = read(config, overrides)
    if "compare" not in content:
        return None, Resolve(content, source)
    if "tune" in content:
        raise ConfigError(f"{source}: with `compare:`, `tune:` belongs to one of its variants")
    section = content.pop("compare")
    settings = configs.validate(CompareSettings, section, f"{source}, section compare")
    return settings, Resolve(content, source)


def no_comparison(resolve: Resolve) -> ConfigError:
    """The error where a config without ``compare:`` is to be compared."""
    return ConfigError(
        f"{resolve.source}: expected a `compare:` section with variants, found none"
        f"{did_you_mean('compare', resolve.content)}"
    )
