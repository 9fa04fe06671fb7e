"""What the program says when its user can mend it: one message, without a traceback.

Each message tells what was expected, what was found, and the next move. Anything else that is
raised is a fault of the program and keeps its traceback.
"""

from collections.abc import Iterable
from difflib import get_close_matches

CLOSE = 0.6  # difflib's ratio of what two words share; its own default


class NowcastError(Exception):
    """A run that failed for a reason its user can act on (exit status 1)."""

    exit_status = 1


class ConfigError(NowcastError):
    """A config, argument or path that cannot be used as given (exit status 2)."""

    exit_status = 2


class UnknownForecaster(ConfigError):
    """A name that is neither a baseline of the task nor anything else (exit status 2)."""


class DataError(NowcastError):
    """A file of an archive that does not hold what it must (exit status 1)."""


class RunError(NowcastError):
    """A run folder or checkpoint that cannot be used, or a run that cannot go on (status 1)."""


class TrainingFailed(RunError):
    """Training that has come to no numbers: with this config it would again (exit status 1)."""


class OutputError(RunError, OSError):
    """A file or folder that cannot be written (exit status 1).

    An OSError too: what goes on after a refused write need not tell the two apart.

    Args:
        message: what could not be written, why, and the next move.
        strerror: why, for messages that say the rest better.
        errno: of the system; None where a library said it in words alone.
    """

    def __init__(self, message: str, strerror: str | None = None, errno: int | None = None) -> None:
        super().__init__(message)
        self.message, self.strerror, self.errno = message, strerror, errno

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[type["OutputError"], tuple[str, str | None, int | None]]:
        return OutputError, (self.message, self.strerror, self.errno)


def near(word: str, candidates: Iterable[str], count: int = 3) -> list[str]:
    """The candidates that are spelled much like a word, the nearest first; case does not count."""
    spelled: dict[str, str] = {}
    for candidate in candidates:
        spelled.setdefault(candidate.casefold(), candidate)
    return [spelled[text] for text in get_close_matches(word.casefold(), spelled, count, CLOSE)]


def did_you_mean(word: object, candidates: Iterable[str]) -> str:
    """``; did you mean a, b or c?``, or nothing if no candidate is near."""
    return question(near(word, candidates)) if isinstance(word, str) else ""


def question(words: list[str]) -> str:
    """``; did you mean a, b or c?`` of these words; nothing of none."""
    if not words:
        return ""
    *before, last = words
    return f"; did you mean {', '.join(before)} or {last}?" if before else f"; did you mean {last}?"
