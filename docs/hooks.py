"""Pages that are made from the program at the build: the command line and the config's keys."""

import ast
import re
from collections.abc import Callable
from pathlib import Path

import typer
from typer.cli import get_docs_for_click

import nowcast
from nowcast.api.config_keys import Key, keys_of
from nowcast.cli.app import app
from nowcast.registry import TASKS


def on_page_markdown(markdown: str, **_: object) -> str:
    """Replace ``<!-- made: NAME -->`` by what that name makes."""
    return re.sub(r"<!-- made: (\w+) -->", lambda match: MADE[match[1]](), markdown)


def command_line() -> str:
    """Every command with arguments and options, from its own help."""
    command = typer.main.get_command(app)
    return str(get_docs_for_click(obj=command, ctx=typer.Context(command), name="nowcast"))


def config_keys() -> str:
    """A table of each task's keys: dotted name, type, default, meaning."""
    parts = []
    for task in TASKS:
        rows = [
            key for key in keys_of(task) if key.name.partition(".")[0] not in ("compare", "tune")
        ]
        parts.append(_keys_table(task, rows))
    several = [
        key for key in keys_of("precipitation") if key.name.startswith(("compare.", "tune."))
    ]
    return "\n".join([*parts, _keys_table("compare and tune", several)])


def _keys_table(title: str, keys: list[Key]) -> str:
    cells = ["key", "type", "default", "meaning"], ["---"] * 4
    rows = [[f"`{key.name}`", key.kind, f"`{key.default}`", key.meaning] for key in keys]
    lines = [" | ".join(cell.replace("|", "\\|") for cell in row) for row in (*cells, *rows)]
    return f"## {title}\n\n" + "\n".join(f"| {line} |" for line in lines) + "\n"


def tree() -> str:
    """The package's folders with what their first lines say, and their modules."""
    package = Path(nowcast.__file__).parent
    rows = []
    for init in sorted(package.rglob("__init__.py")):
        folder = init.parent
        about = (ast.get_docstring(ast.parse(init.read_text())) or "").partition("\n")[0]
        modules = sorted(
            f"`{path.name}`"
            for path in folder.iterdir()
            if path.suffix in (".py", ".c", ".h", ".jinja") and path != init
        )
        name = folder.relative_to(package.parent).as_posix()
        rows.append(f"| `{name}/` | {about} | {', '.join(modules)} |")
    return "\n".join(["| folder | what | modules |", "| --- | --- | --- |", *rows])


MADE: dict[str, Callable[[], str]] = {"cli": command_line, "keys": config_keys, "tree": tree}
