"""A table as a terminal shows it; in a file or a pipe nothing is folded.

Names and paths are shown as they are: brackets in them are no markup.
"""

import sys
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nowcast.core.table import Table

UNFOLDED = 100_000  # columns of what is no terminal


def print_table(
    header: Sequence[str], rows: Sequence[Sequence[str]], text: Collection[int] = (0,)
) -> None:
    """Print a table: the columns in `text` to the left, figures to the right, the first column in
    one line."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    shown = RichTable(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), header_style="bold")
    for position, title in enumerate(header):
        first = position == 0
        shown.add_column(
            Text(title),
            justify="left" if position in text else "right",
            no_wrap=first,
            overflow="fold",
        )
    for row in rows:
        shown.add_row(*map(Text, row))
    Console(width=None if sys.stdout.isatty() else UNFOLDED).print(shown)


def print_scores(table: "Table") -> None:
    """Print the scores of forecasters, one a row."""
    print_table(table.header(), [[_stacked(cell) for cell in row] for row in table.cells()])
    sys.stdout.write(f"{table.legend}\n")


def _stacked(cell: str) -> str:
    """``1.0 ± 0.1 *`` in two lines, so that a table fits a terminal."""
    mean, plus_minus, spread = cell.partition(" ± ")
    if not plus_minus or not sys.stdout.isatty():
        return cell
    return f"{mean}{' *' * spread.endswith(' *')}\n± {spread.removesuffix(' *')}"
