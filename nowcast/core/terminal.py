"""A table as a terminal shows it."""

from collections.abc import Sequence


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table; the first column is text and kept in one line, the others are figures."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table as RichTable

    shown = RichTable(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), header_style="bold")
    for position, title in enumerate(header):
        first = position == 0
        shown.add_column(
            title, justify="left" if first else "right", no_wrap=first, overflow="fold"
        )
    for row in rows:
        shown.add_row(*row)
    Console().print(shown)
