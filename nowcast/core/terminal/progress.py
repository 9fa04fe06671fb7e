"""Progress of long work: the code that works reports it here, its caller decides where it goes.

    with display_on() as display, shown(display):  # as a command does; else nothing is shown
        with line("scoring", total=640, unit="samples") as scoring:
            scoring.advance(by=16)

A display may be a terminal's bars, a line of text now and then (`displays`), or the process that
started this one (`relay`). A title is shown as it is, never as markup.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

NOTE_SECONDS = 15.0  # from which on a note is old, less than the time between two lines of text


class Display:
    """Where progress goes; this one shows nothing, as in a library call.

    Args:
        clock: seconds since some time.
    """

    def __init__(self, clock: Callable[[], float] = lambda: 0.0) -> None:
        self.clock = clock

    def opened(self, line: "Line") -> None:
        """A piece of work has begun."""

    def changed(self, line: "Line") -> None:
        """It has come further."""

    def closed(self, line: "Line") -> None:
        """It has ended."""

    def say(self, text: str) -> None:
        """Show a message once."""


@dataclass(eq=False)
class Line:
    """One piece of work and how far it is; made by `line`.

    Args:
        display: where it is shown.
        title: what is done, and to what.
        total: how much there is to do; None where that is not known.
        done: how much of it is done.
        unit: of both, in the plural.
        within: the piece of work that this is a part of.
        note: the newest numbers, e.g. ``loss 0.012``.
    """

    display: Display
    title: str
    total: int | None = None
    done: int = 0
    unit: str = ""
    within: "Line | None" = None
    note: str = ""
    began: float = field(init=False)
    start: int = field(init=False)

    def __post_init__(self) -> None:
        self.began = self._noted = self.display.clock()
        self.start = self.done

    def advance(self, note: str | None = None, by: int = 1) -> None:
        """Count, and replace the note where there is a new one."""
        if note is not None:
            self.note, self._noted = note, self.display.clock()
        self.done += by
        self.display.changed(self)

    def set(self, done: int, total: int) -> None:
        """Say how much is done of how much: what reports (done, total) takes this."""
        self.done, self.total = done, total
        self.display.changed(self)

    @property
    def wants_note(self) -> bool:
        """Whether the note is old, and somebody reads it."""
        return self.display.clock() - self._noted >= NOTE_SECONDS


_SILENT = Display()
_display: ContextVar[Display] = ContextVar("display", default=_SILENT)
_within: ContextVar[Line | None] = ContextVar("within", default=None)


@contextmanager
def shown(display: Display) -> Iterator[None]:
    """Show on a display what the block, and all it calls, says of its progress."""
    token, outside = _display.set(display), _within.set(None)
    try:
        yield
    finally:
        _display.reset(token)
        _within.reset(outside)


def display() -> Display:
    """Where progress goes now."""
    return _display.get()


def surrounding() -> Line | None:
    """The piece of work that whatever begins now is a part of."""
    return _within.get()


@contextmanager
def line(title: str, total: int | None = None, done: int = 0, unit: str = "") -> Iterator[Line]:
    """A piece of work, for as long as the block runs.

    Args:
        title: what is done, and to what.
        total: how much there is to do; None where that is not known.
        done: how much of it was done before.
        unit: of both, in the plural.
    """
    one = Line(_display.get(), title, total, done, unit, _within.get())
    token = _within.set(one)
    one.display.opened(one)
    try:
        yield one
    finally:
        _within.reset(token)
        one.display.closed(one)


@contextmanager
def counted(title: str, unit: str = "") -> Iterator[Callable[[int, int], None]]:
    """A piece of work that reports (done, total), which is known once it has begun."""
    with line(title, unit=unit) as one:
        yield one.set


def say(text: str) -> None:
    """Something that is read once, such as what is waited for."""
    _display.get().say(text)


def duration(seconds: float) -> str:
    """For people: ``42 s``, ``3 min 05 s``, ``2 h 03 min``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
