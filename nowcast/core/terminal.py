"""A table as a terminal shows it."""

import sys
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nowcast.core.table import Table


def print_table(
    header: Sequence[str], rows: Sequence[Sequence[str]], text: Collection[int] = (0,)
) -> None:
    """Print a table: the columns in `text` to the left, figures to the right, the first column in
    one line."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table as RichTable

    shown = RichTable(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), header_style="bold")
    for position, title in enumerate(header):
        first = position == 0
        shown.add_column(
            title,
            justify="left" if position in text else "right",
            no_wrap=first,
            overflow="fold",
        )
    for row in rows:
        shown.add_row(*row)
    Console().print(shown)


def print_scores(table: "Table") -> None:
    """Print the scores of forecasters, one a row."""
    print_table(table.header(), [[_stacked(cell) for cell in row] for row in table.cells()])
    sys.stdout.write(f"{table.legend}\n")


def _stacked(cell: str) -> str:
    """``1.0 ± 0.1 *`` in two lines, so that a table fits a terminal."""
    mean, plus_minus, spread = cell.partition(" ± ")
    if not plus_minus:
        return cell
    return f"{mean}{' *' * spread.endswith(' *')}\n± {spread.removesuffix(' *')}"
