"""Pieces of model cards."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Markdown, the first column to the left."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def windows(windows: Sequence[dict[str, Any]], batch_size: int) -> str:
    """How often a step sees how many windows of what size."""
    weights = sum(window["weight"] for window in windows)
    return ", ".join(
        f"{batch_size * window.get('clips', 1)} of {window['side']}x{window['side']} pixels in "
        f"{100 * window['weight'] / weights:.0f} %"
        for window in windows
    )


def template(name: str, folder: Path = Path(__file__).parent) -> Template:
    """Of a folder; what it names must be given."""
    loader = FileSystemLoader(folder)
    made = Environment(loader=loader, undefined=StrictUndefined, keep_trailing_newline=True)
    return made.get_template(name)
