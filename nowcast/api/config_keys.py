"""What a config of a task may say: every key, and the JSON Schema for editors."""

import json
import types
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from nowcast.core.settings import CompareSettings, TuneSettings
from nowcast.registry import settings_class

WORDS = {
    bool: "true | false",
    int: "whole number",
    float: "number",
    str: "text",
    Path: "path",
    types.NoneType: "null",
    object: "value",
}
SECTIONS: dict[str, type[BaseModel]] = {"compare": CompareSettings, "tune": TuneSettings}


@dataclass(frozen=True)
class Key:
    """One key of a config.

    Args:
        name: dotted; ``[]`` is an item of a list, ``NAME`` a name of one's own.
        kind: what values it takes.
        default: in YAML's flow style; empty if it has none.
        meaning: the first sentence of its description.
    """

    name: str
    kind: str
    default: str
    meaning: str

    def row(self) -> list[str]:
        """As cells of a table."""
        return [self.name, self.kind, self.default, self.meaning]


def keys_of(task: str) -> list[Key]:
    """The keys of a task's config, with those of ``compare`` and ``tune``.

    Raises:
        ConfigError: an unknown task.
    """
    found = list(_keys(settings_class(task), ""))
    for name, model in SECTIONS.items():
        found += _keys(model, f"{name}.")
    return found


def schema_of(task: str) -> dict[str, Any]:
    """The JSON Schema (2020-12) of a task's config files.

    Raises:
        ConfigError: an unknown task.
    """
    schema = settings_class(task).model_json_schema()
    for name, model in SECTIONS.items():
        section = model.model_json_schema(ref_template="#/$defs/{model}")
        schema.setdefault("$defs", {}).update(section.pop("$defs", {}))
        schema["properties"][name] = section
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _keys(model: type[BaseModel], above: str) -> Iterator[Key]:
    for name, field in model.model_fields.items():
        inner = list(_sections(field.annotation, f"{above}{name}"))
        if not (inner and field.annotation is inner[0][0]):  # a section is its keys
            yield Key(f"{above}{name}", _kind(field.annotation), _default(field), _meaning(field))
        for section, path in inner:
            yield from _keys(section, f"{path}.")


def _sections(annotation: Any, path: str) -> Iterator[tuple[type[BaseModel], str]]:
    """The sections that a key's value may be or hold, and their paths."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation, path
        return
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        arguments = arguments[:1]
    below = f"{path}[]" if origin is tuple else f"{path}.NAME" if origin is dict else path
    for argument in dict.fromkeys(arguments if origin is not Literal else ()):
        yield from _sections(argument, below)


def _kind(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _kind(arguments[0])
    if origin is Literal:
        return " | ".join(str(argument) for argument in arguments)
    if origin in (Union, types.UnionType):
        return " | ".join(dict.fromkeys(_kind(argument) for argument in arguments))
    if origin is tuple:
        return f"[{', '.join('...' if part is ... else _kind(part) for part in arguments)}]"
    if origin is dict:
        return f"{{NAME: {_kind(arguments[1])}}}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "section"
    return WORDS.get(annotation, getattr(annotation, "__name__", str(annotation)))


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return ""
    value = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        return "{}"
    if isinstance(value, tuple) and any(isinstance(part, BaseModel) for part in value):
        return f"{len(value)} sections"
    return value if isinstance(value, str) else json.dumps(value)


def _meaning(field: FieldInfo) -> str:
    """The first sentence of a field's docstring."""
    text = " ".join((field.description or "").split())
    sentence, stop, _ = text.partition(". ")
    return sentence + stop.strip()
