"""Progress of a worker process, shown by the process that started it."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from nowcast.core.terminal.progress import Display, Line, display, surrounding

RELAY_SECONDS = 1.0  # between two reports


@dataclass(frozen=True)
class Report:
    """How far a worker process is with a piece of its work."""

    key: int
    title: str
    total: int | None
    done: int
    unit: str
    note: str
    within: int | None
    is_open: bool


@dataclass(frozen=True)
class Said:
    """What a worker process wants to be read once."""

    text: str


class Relay(Display):
    """The display of a worker process: the process that takes the reports shows them (`Mirror`).

    Args:
        send: takes the reports.
        clock: seconds.
    """

    def __init__(
        self, send: Callable[[Report | Said], object], clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(clock)
        self._send = send
        self._keys: dict[Line, int] = {}
        self._count = 0
        self._sent = float("-inf")

    def opened(self, line: Line) -> None:
        self._keys[line] = self._count
        self._count += 1
        self._report(line)

    def changed(self, line: Line) -> None:
        if self.clock() - self._sent >= RELAY_SECONDS:
            self._sent = self.clock()
            self._report(line)

    def closed(self, line: Line) -> None:
        self._report(line, is_open=False)
        del self._keys[line]

    def say(self, text: str) -> None:
        self._send(Said(text))

    def _report(self, line: Line, is_open: bool = True) -> None:
        within = None if line.within is None else self._keys.get(line.within)
        key = self._keys[line]
        self._send(
            Report(key, line.title, line.total, line.done, line.unit, line.note, within, is_open)
        )


class Mirror:
    """What one worker process works at, shown as a part of what this process works at now."""

    def __init__(self) -> None:
        self._display, self._within = display(), surrounding()
        self._lines: dict[int, Line] = {}

    def take(self, report: Report | Said) -> None:
        """Show what a `Relay` has sent."""
        if isinstance(report, Said):
            self._display.say(report.text)
            return
        line = self._lines.get(report.key)
        if line is None:
            within = self._within if report.within is None else self._lines.get(report.within)
            line = Line(self._display, report.title, report.total, report.done, report.unit, within)
            self._lines[report.key] = line
            self._display.opened(line)
        line.total, line.done, line.note = report.total, report.done, report.note
        self._display.changed(line)
        if not report.is_open:
            self._display.closed(self._lines.pop(report.key))

    def close(self) -> None:
        """End what the process has left open: it works no more."""
        for line in reversed(self._lines.values()):
            self._display.closed(line)
        self._lines.clear()
