"""A warning for whoever reads a result, not for who wrote the code: one line, said once."""

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO


class ResultWarning(UserWarning):
    """What a user must know of a result that came about otherwise than asked, in one sentence."""


def say_plainly() -> None:
    """From now on a `ResultWarning` is one line on stderr, said once a process, without a place in
    our sources; for the command line."""
    warnings.showwarning = _say_once


@contextmanager
def collected() -> Iterator[list[str]]:
    """What is said while this lasts goes into a list instead; other warnings go their way."""
    said: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ResultWarning)
        yield said
    for one in caught:
        if issubclass(one.category, ResultWarning):
            said.append(str(one.message))
        else:
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)


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
