"""Progress of a call from Python: bars on a terminal, lines of text in a notebook or a file."""

import os
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from nowcast.core.terminal.displays import display_on
from nowcast.core.terminal.progress import Display, display, shown

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def shows_progress(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Show on stderr how far a function is, unless its caller shows it already."""

    @wraps(function)
    def call(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        if type(display()) is not Display:
            return function(*args, **kwargs)
        with display_on(rank=os.environ.get("RANK", "0")) as own, shown(own):
            return function(*args, **kwargs)

    return call
