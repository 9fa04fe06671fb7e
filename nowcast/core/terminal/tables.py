"""A table as a terminal shows it; in a file or a pipe nothing is folded.

Names and paths are shown as they are: brackets in them are no markup.
"""

import sys
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nowcast.core.scoring.table import Table

UNFOLDED = 100_000  # columns of what is no terminal


def is_terminal(stream: Any) -> bool:
    """Whether somebody looks at a stream; it is None where the process has it closed."""
    return stream is not None and bool(stream.isatty())


def print_table(
    header: Sequence[str], rows: Sequence[Sequence[str]], text: Collection[int] = (0,)
) -> None:
    """Print a table: the columns in `text` to the left, figures to the right, the first column in
    one line if that leaves half the width to the others."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    if sys.stdout is None:
        return
    console = Console(width=None if is_terminal(sys.stdout) else UNFOLDED)
    longest = max((len(row[0]) for row in rows), default=0)
    shown = RichTable(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), header_style="bold")
    for position, title in enumerate(header):
        shown.add_column(
            Text(title),
            justify="left" if position in text else "right",
            no_wrap=position == 0 and longest <= console.width // 2,  # a longer one would be cut
            overflow="fold",
        )
    for row in rows:
        shown.add_row(*map(Text, row))
    console.print(shown)


def print_scores(table: "Table") -> None:
    """Print the scores of forecasters, one a row."""
    print_table(table.header(), [[_stacked(cell) for cell in row] for row in table.cells()])
    sys.stdout.write(f"{table.legend}\n")


def _stacked(cell: str) -> str:
    """``1.0 ± 0.1 *`` in two lines, so that a table fits a terminal."""
    mean, plus_minus, spread = cell.partition(" ± ")
    if not plus_minus or not is_terminal(sys.stdout):
        return cell
    return f"{mean}{' *' * spread.endswith(' *')}\n± {spread.removesuffix(' *')}"
