"""A warning for whoever reads a result, not for who wrote the code: one line, said once."""

import sys
import warnings
from typing import TextIO


class ResultWarning(UserWarning):
    """What a user must know of a result that came about otherwise than asked, in one sentence."""


def say_plainly() -> None:
    """From now on a `ResultWarning` is one line on stderr, said once a process, without a place in
    our sources; for the command line."""
    warnings.showwarning = _say_once


_USUAL = warnings.showwarning
_SAID: set[str] = set()


def _say_once(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    if not issubclass(category, ResultWarning):
        _USUAL(message, category, filename, lineno, file, line)
    elif str(message) not in _SAID:
        _SAID.add(str(message))
        sys.stderr.write(f"nowcast: {message}\n")
