"""Pieces of model cards."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from nowcast.core.errors import ConfigError
from nowcast.core.storage.files import write_text


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


def insert(path: Path, text: str, mark: str = "weights") -> None:
    """Put a text between the marks of a page: ``<!-- mark -->`` and ``<!-- /mark -->``."""
    begin, end = f"<!-- {mark} -->", f"<!-- /{mark} -->"
    before, begins, rest = path.read_text().partition(begin)
    _, ends, after = rest.partition(end)
    if not (begins and ends):
        raise ConfigError(
            f"{path}: expected {begin} and after it {end} around what the scores say, found no "
            "such pair; put them there"
        )
    write_text(path, f"{before}{begin}\n{text}\n{end}{after}")


def template(name: str, folder: Path = Path(__file__).parent) -> Template:
    """Of a folder; what it names must be given."""
    loader = FileSystemLoader(folder)
    made = Environment(loader=loader, undefined=StrictUndefined, keep_trailing_newline=True)
    return made.get_template(name)
