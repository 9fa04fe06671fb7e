"""A table as a terminal shows it."""

from collections.abc import Collection, Sequence


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
