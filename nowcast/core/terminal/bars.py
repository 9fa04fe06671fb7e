"""Progress on a terminal: bars under each other, and under them the numbers of each."""

import sys
import time
from collections.abc import Iterable

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column
from rich.text import Text

from nowcast.core.terminal.progress import Display, Line
from nowcast.core.terminal.tables import is_terminal

BAR_WIDTH = 20  # so that a line of 80 has room for a name


class Bars(Display):
    """Bars of whatever work is open; a finished one stays until all others are.

    Args:
        console: the terminal's.
    """

    def __init__(self, console: Console) -> None:
        super().__init__(time.monotonic)
        self._console = console
        self._progress: Progress | None = None
        self._ids: dict[Line, TaskID] = {}
        self._open: set[Line] = set()

    def opened(self, line: Line) -> None:
        if self._progress is None:
            self._progress = _progress(self._console)
            self._progress.start()
        self._open.add(line)
        self._ids[line] = self._progress.add_task(
            line.title, total=line.total, completed=line.done, note=line.note
        )

    def changed(self, line: Line) -> None:
        if self._progress is not None and line in self._ids:
            self._progress.update(
                self._ids[line], completed=line.done, total=line.total, note=line.note
            )

    def closed(self, line: Line) -> None:
        """Nothing stays of work within work, nor of what has no total."""
        self._open.discard(line)
        assert self._progress is not None
        if line.within is not None or line.total is None:
            self._progress.remove_task(self._ids.pop(line))
        if not self._open:
            self._progress.live.transient = not self._ids  # or an empty line would stay
            self._progress.stop()
            self._progress = None
            self._ids.clear()

    def say(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


class _WithNotes(Progress):
    """A note beside its bar would leave no room for either."""

    def get_renderables(self) -> Iterable[RenderableType]:
        yield self.make_tasks_table(self.tasks)
        for task in self.tasks:
            if task.fields["note"]:
                yield Text(f"{task.description}: {task.fields['note']}")


def _progress(console: Console) -> Progress:
    def whole() -> Column:
        return Column(no_wrap=True)

    return _WithNotes(
        TextColumn("{task.description}", markup=False, table_column=Column(overflow="fold")),
        BarColumn(bar_width=BAR_WIDTH, table_column=whole()),
        MofNCompleteColumn(table_column=whole()),
        TimeElapsedColumn(table_column=whole()),
        TimeRemainingColumn(table_column=whole()),
        console=console,
        redirect_stdout=is_terminal(sys.stdout),  # else tables would go where the bars are
    )
