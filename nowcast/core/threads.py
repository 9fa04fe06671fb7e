"""Work of several threads, taken in order and never far ahead: for files whose decoders let go of
the interpreter (zlib, OpenCV)."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from nowcast.core.errors import ConfigError

Item = TypeVar("Item")
Result = TypeVar("Result")

AHEAD = 2  # results a worker may have waiting, which bounds memory


def in_order(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int
) -> Iterator[Result]:
    """`function` of each item, in the order of the items; what one raises is raised in its turn.

    Raises:
        ConfigError: `workers` is less than 1.
    """
    if workers < 1:
        raise ConfigError(f"workers: expected at least 1, found {workers}")
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future[Result]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > AHEAD * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
