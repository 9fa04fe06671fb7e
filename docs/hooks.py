"""Pages that are made from the program at the build: the command line and the config's keys."""

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import typer
from pydantic import BaseModel
from typer.cli import get_docs_for_click

import nowcast
from nowcast.cli.app import app
from nowcast.registry import TASKS, settings_class


def on_page_markdown(markdown: str, **_: object) -> str:
    """Replace ``<!-- made: NAME -->`` by what that name makes."""
    return re.sub(r"<!-- made: (\w+) -->", lambda match: MADE[match[1]](), markdown)


def command_line() -> str:
    """Every command with arguments and options, from its own help."""
    command = typer.main.get_command(app)
    return str(get_docs_for_click(obj=command, ctx=typer.Context(command), name="nowcast"))


def config_keys() -> str:
    """A table of each task's keys: dotted name and default."""
    parts = []
    for task in TASKS:
        rows = "\n".join(f"| `{name}` | `{default}` |" for name, default in keys(task))
        parts.append(f"## {task}\n\n| key | default |\n| --- | --- |\n{rows}\n")
    return "\n".join(parts)


def keys(task: str) -> Iterator[tuple[str, str]]:
    """Dotted name and default of every key of a task's config."""
    yield from _keys(settings_class(task), "")


def _keys(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, str]]:
    for name, field in model.model_fields.items():
        sections = list(_sections(field.annotation))
        if not sections:
            default = field.get_default(call_default_factory=True)
            yield f"{prefix}{name}", "null" if default is None else str(default)
        for section in sections:
            yield from _keys(section, f"{prefix}{name}.")


def _sections(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _sections(part)


def tree() -> str:
    """The package's folders with what their first lines say, and their modules."""
    package = Path(nowcast.__file__).parent
    rows = []
    for init in sorted(package.rglob("__init__.py")):
        folder = init.parent
        about = (ast.get_docstring(ast.parse(init.read_text())) or "").partition("\n")[0]
        modules = sorted(
            path.name
            for path in folder.iterdir()
            if path.suffix in (".py", ".c", ".jinja") and path != init
        )
        name = folder.relative_to(package.parent).as_posix()
        rows.append(f"| `{name}/` | {about} | {', '.join(modules)} |")
    return "\n".join(["| folder | what | modules |", "| --- | --- | --- |", *rows])


MADE: dict[str, Callable[[], str]] = {"cli": command_line, "keys": config_keys, "tree": tree}
