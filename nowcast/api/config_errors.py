"""The errors of a config, one line each: the key, its line in the file, and near words."""

import re
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from nowcast.core.errors import did_you_mean, near, question
from nowcast.core.settings import RunSettings
from nowcast.core.storage.yaml_files import Located, Position

Keys = Sequence[str | int]
WORDS_FOR_BOOL = ("yes", "no", "on", "off", "y", "n", "true", "false")


def explained(error: ValidationError, model: type[BaseModel], config: object) -> list[str]:
    """Each error of a config as a line.

    Args:
        error: of the validation.
        model: the settings class.
        config: what was validated; `Located` sections give the line numbers.
    """
    errors = error.errors()
    wrong = {details["loc"][:-1] for details in errors}
    return [
        _line(details, model, config)
        for details in errors
        if details["type"] != "too_short" or details["loc"] not in wrong  # counts valid items
    ]


def _line(details: Any, model: type[BaseModel], config: object) -> str:
    keys, found = details["loc"], details["input"]
    unknown = details["type"] == "extra_forbidden"
    position = _position(keys, config, unknown)
    at = "" if position is None else f" (line {position[0]}, column {position[1]})"
    path = ".".join(str(part) for part in keys) or "config"
    if unknown:
        return f"  {path}{at}: unknown key{_meant(keys, model)}"
    message = details["msg"].removeprefix("Value error, ")
    shown = list(found) if isinstance(found, tuple) else found
    shown = "" if isinstance(found, dict | BaseModel) else f" (found {shown!r})"
    return f"  {path}{at}: {message}{shown}{_remedy(details)}"


def _position(keys: Keys, config: object, of_key: bool) -> Position | None:
    """Position of a value, or of the nearest section around it that has one."""
    position = None
    for key in keys:
        if isinstance(config, Located) and key in config:
            known = config.keys_at if of_key else config.values_at
            position = known.get(str(key))  # None: an override has set it
        # A part that is not in the config: pydantic's name for a member of a union.
        with suppress(KeyError, IndexError, TypeError):
            config = config[key]  # type: ignore[index]
    return position


def _remedy(details: Any) -> str:
    found = details["input"]
    if not isinstance(found, str):
        return ""
    if details["type"] == "literal_error":
        return did_you_mean(found, re.findall(r"'([^']*)'", details["ctx"]["expected"]))
    if details["type"] == "bool_type" and found.lower() in WORDS_FOR_BOOL:
        return "; write true or false, without quotes"
    if details["type"] in ("int_type", "float_type"):
        with suppress(ValueError):
            return f"; as a number: {float(found):g}, without quotes"
    return ""


def _meant(keys: Keys, model: type[BaseModel]) -> str:
    """Similar keys, this key in other sections, or the keys of the section."""
    *above, last = [str(key) for key in keys]
    own, known = _fields(model, above), _dotted(model)
    if issubclass(model, RunSettings):
        known += ["compare", "tune"]
        own += [] if above else ["compare", "tune"]
    if last in known and "." in last:
        section, _, name = last.rpartition(".")
        return f"; in a file, write `{name}` in the section `{section}`"
    meant = [key for key in known if key.rpartition(".")[2] == last]
    meant += [".".join([*above, key]) for key in near(last, own)]
    if not meant:
        leaves = {key.rpartition(".")[2]: key for key in known}
        meant = [leaves[leaf] for leaf in near(last, leaves)]
    return question(list(dict.fromkeys(meant))[:3]) or f"; expected one of {', '.join(own)}"


def _fields(model: type[BaseModel], above: Sequence[str]) -> list[str]:
    """The keys of the section at a path."""
    models = [model]
    for key in above:
        below = [
            found
            for each in models
            if key in each.model_fields
            for found in _models(each.model_fields[key].annotation)
        ]
        models = below or models  # else an index, a name, or the kind of a value
    return [name for each in models for name in each.model_fields]


def _dotted(model: type[BaseModel]) -> list[str]:
    """All dotted keys of a settings class, except within lists and named sections."""
    found = []
    for name, field in model.model_fields.items():
        found.append(name)
        parts = {field.annotation, *get_args(field.annotation)}
        for part in parts:
            if isinstance(part, type) and issubclass(part, BaseModel):
                found += [f"{name}.{key}" for key in _dotted(part)]
    return found


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for part in get_args(annotation) for found in _models(part)]
