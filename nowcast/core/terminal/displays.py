"""Where a command shows progress: lines of text now and then; on a terminal, bars (`bars`)."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING

from nowcast.core.terminal.progress import Display, Line, duration

if TYPE_CHECKING:
    from rich.console import Console

FIRST_SECONDS = 2.0  # of a piece of work before its first line of text: shorter work needs none
EVERY_SECONDS = 20.0  # between two lines of text; the promise is 30

Clock = Callable[[], float]


@contextmanager
def display_on(console: "Console | None" = None, rank: str = "0") -> Iterator[Display]:
    """Where a process shows progress: bars on a terminal that can draw them, else lines of text.

    Args:
        console: of the process; without it that of stderr.
        rank: of the process in a distributed run; one that is not the first shows nothing.
    """
    if rank != "0" or (console is None and sys.stderr is None):  # which is closed
        yield Display()
        return
    if console is None:
        from rich.console import Console

        console = Console(stderr=True)
    if console.is_terminal and not console.is_dumb_terminal:
        from nowcast.core.terminal.bars import Bars

        yield Bars(console)
        return
    text, done = TextLines(partial(print, file=console.file, flush=True)), threading.Event()

    def look() -> None:
        while not done.wait(1.0):
            text.look()

    # A step of minutes shows that it goes on only if somebody else looks after it.
    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield text
    finally:
        done.set()
        thread.join()


class TextLines(Display):
    """Lines of text, for a file or a pipe: soon after work began, at least every 30 s, and at its
    end. Of work within work only the innermost is told.

    Args:
        write: takes a line.
        clock: seconds.
    """

    def __init__(self, write: Callable[[str], object], clock: Clock = time.monotonic) -> None:
        super().__init__(clock)
        self._write = write
        self._lock = threading.RLock()
        self._told: dict[Line, float | None] = {}  # open line -> when it was told last

    def opened(self, line: Line) -> None:
        with self._lock:
            self._told[line] = None

    def changed(self, line: Line) -> None:
        self.look()

    def closed(self, line: Line) -> None:
        with self._lock:
            told = self._told.pop(line, None)
            if told is not None or self.clock() - line.began >= FIRST_SECONDS:
                self._tell(line, ended=True)

    def say(self, text: str) -> None:
        # A log that cannot be written, or is read no more, is no reason to end the work.
        with self._lock, suppress(OSError, ValueError):
            self._write(f"nowcast: {text}")

    def look(self) -> None:
        """Write the lines that are due."""
        with self._lock:
            now = self.clock()
            outer = {line.within for line in self._told}
            for line, told in list(self._told.items()):
                if line in outer:
                    continue
                if now - (line.began if told is None else told) >= (
                    FIRST_SECONDS if told is None else EVERY_SECONDS
                ):
                    self._tell(line)

    def _tell(self, line: Line, ended: bool = False) -> None:
        now = self.clock()
        self.say(described(line, now, ended))
        told: Line | None = line
        while told is not None:  # what this is a part of need not be told at once as well
            if told in self._told:
                self._told[told] = now
            told = told.within


def described(line: Line, now: float, ended: bool = False) -> str:
    """How far a piece of work is, in a line: done of all, its note, speed and time left."""
    spent, here = now - line.began, line.done - line.start
    parts = []
    if line.total is None:
        parts += [f"{line.done} {line.unit}".strip()] if line.done else []
    else:
        parts.append(f"{line.done} of {line.total} {line.unit}".strip())
    parts += [line.note] if line.note else []
    if here > 0 and spent > 0:
        a_second = here / spent
        parts.append(f"{a_second:.3g} a second" if a_second >= 1 else f"{1 / a_second:.3g} s each")
        if line.total is not None and not ended:
            parts.append(f"{duration((line.total - line.done) / a_second)} left")
    if ended or line.total is None or here <= 0:
        parts.append(f"{'ended after' if ended else 'for'} {duration(spent)}")
    return f"{line.title}: {', '.join(parts)}"
