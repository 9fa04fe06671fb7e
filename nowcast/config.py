"""A YAML file and dotted overrides become frozen settings, or one list of all that is wrong."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from nowcast.core.errors import ConfigError

Model = TypeVar("Model", bound=BaseModel)


def read(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file.

    Raises:
        ConfigError: absent, not YAML, or not a mapping.
    """
    try:
        content = yaml.safe_load(path.read_text())
    except OSError as error:
        raise ConfigError(f"{path}: expected a config file: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid YAML: {error}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: expected `key: value` lines, found {type(content).__name__}")
    return content


def parse_overrides(arguments: Sequence[str]) -> dict[str, Any]:
    """``key=value`` arguments as dotted keys and YAML values.

    Raises:
        ConfigError: an argument without ``=`` or whose value is not YAML.
    """
    overrides: dict[str, Any] = {}
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if not equals or not key:
            raise ConfigError(f"expected key=value, e.g. train.steps=100; found {argument!r}")
        try:
            overrides[key] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ConfigError(f"{key}: the value {value!r} is not valid YAML: {error}") from error
    return overrides


def overridden(config: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of a config with dotted keys set; a null or absent section on the way is made.

    Raises:
        ConfigError: a key goes through something that is no section.
    """
    result = deepcopy(dict(config))
    for dotted, value in overrides.items():
        *sections, last = dotted.split(".")
        place = result
        for section in sections:
            if place.get(section) is None:
                place[section] = {}
            place = place[section]
            if not isinstance(place, dict):
                raise ConfigError(f"{dotted}: {section} is {place!r}, not a section")
        place[last] = value
    return result


def validate(
    model: type[Model], config: Mapping[str, Any], source: str, evaluating: bool = False
) -> Model:
    """The settings that a config describes.

    Args:
        model: the settings class.
        config: what was read, overrides applied.
        source: named in errors.
        evaluating: leave out the contracts that only training needs.

    Raises:
        ConfigError: with every error and its path, one a line.
    """
    try:
        return model.model_validate(config, context={"evaluating": evaluating})
    except ValidationError as error:
        lines = [_line(details) for details in error.errors()]
        raise ConfigError(f"{source}: {len(lines)} to mend\n" + "\n".join(lines)) from error


def _line(details: Any) -> str:
    path = ".".join(str(part) for part in details["loc"]) or "config"
    if details["type"] == "extra_forbidden":
        return f"  {path}: unknown key"
    message = details["msg"].removeprefix("Value error, ")
    found = (
        "" if isinstance(details["input"], dict | BaseModel) else f" (found {details['input']!r})"
    )
    return f"  {path}: {message}{found}"
