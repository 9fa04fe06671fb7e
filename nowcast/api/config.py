"""YAML and dotted overrides become frozen settings, or one error that lists all that is wrong."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from nowcast.api.config_errors import explained
from nowcast.core.errors import ConfigError, near, question
from nowcast.core.storage.yaml_files import Located, YamlError, loads, unread

Model = TypeVar("Model", bound=BaseModel)


def read(path: Path) -> dict[str, Any]:
    """The mapping in a YAML 1.2 file, with line numbers (`Located`).

    Raises:
        ConfigError: no such file, not YAML, a duplicate key, or not a mapping.
    """
    try:
        content = loads(path.read_bytes())
    except OSError as error:
        there = {file.stem: str(file) for file in path.parent.glob("*.yaml")}
        meant = question([there[stem] for stem in near(path.stem, there)])
        raise ConfigError(f"{path}: expected a config file: {error.strerror}{meant}") from error
    except YamlError as error:
        raise ConfigError(f"{path}: not valid YAML: {error}") from error
    if not isinstance(content, Located):
        raise ConfigError(f"{path}: expected `key: value` lines, found {type(content).__name__}")
    return content


def parse_overrides(arguments: Sequence[str]) -> dict[str, Any]:
    """``key=value`` arguments as dotted keys and YAML values, by the rules of a file.

    Raises:
        ConfigError: no ``=``, a value that is not YAML, or a key that was set before.
    """
    overrides: dict[str, Any] = {}
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if not equals or not all(key.split(".")):
            raise ConfigError(f"expected key=value, e.g. train.steps=100; found {argument!r}")
        _check_not_set(key, overrides)
        try:
            overrides[key] = loads(value)
            ignored = unread(value)
        except YamlError as error:
            raise ConfigError(f"{key}: the value {value!r} is not valid YAML: {error}") from error
        if ignored:
            raise ConfigError(
                f"{key}: {ignored!r} of {value!r} would be a comment in YAML; quote the value, "
                f"e.g. {key}='\"...\"'"
            )
    return overrides


def _check_not_set(key: str, earlier: Mapping[str, Any]) -> None:
    if key in earlier:
        raise ConfigError(f"{key}: given twice; leave one of them")
    parts = [name for name in earlier if name.startswith(f"{key}.")]
    if parts:
        raise ConfigError(f"{key}: would replace {', '.join(parts)}; leave one, or give it first")


def overridden(config: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of a config with dotted keys set; null or missing sections are made.

    Raises:
        ConfigError: a part of a key is no section.
    """
    result = deepcopy(config if isinstance(config, dict) else dict(config))
    for dotted, value in overrides.items():
        *sections, last = dotted.split(".")
        place = result
        for section in sections:
            if place.get(section) is None:
                _put(place, section, {})
            place = place[section]
            if not isinstance(place, dict):
                raise ConfigError(f"{dotted}: {section} is {place!r}, not a section")
        _put(place, last, value)
    return result


def _put(place: dict[str, Any], key: str, value: object) -> None:
    if isinstance(place, Located):
        place.put(key, value)
    else:
        place[key] = value


def validate(
    model: type[Model], config: Mapping[str, Any], source: str, evaluating: bool = False
) -> Model:
    """The settings that a config describes.

    Args:
        model: the settings class.
        config: its content, with overrides.
        source: for messages.
        evaluating: leave out the checks that only training needs.

    Raises:
        ConfigError: every error with its key, one a line.
    """
    try:
        return model.model_validate(config, context={"evaluating": evaluating})
    except ValidationError as error:
        lines = explained(error, model, config)
        raise ConfigError(f"{source}: {len(lines)} to mend\n" + "\n".join(lines)) from error
