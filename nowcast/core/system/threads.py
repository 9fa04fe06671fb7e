"""How many threads do a piece of work: several, in order and never far ahead, where decoders let go
of the interpreter (zlib, OpenCV); one, where torch's would only wait for each other."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

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


@contextmanager
def one_thread() -> Iterator[None]:
    """torch's operations on CPU in one thread meanwhile: for many small ones.

    Two threads gain little there on an idle machine. On a busy one each operation waits for one
    that does not run: the scores of a frame of 190x228 took 2.4 s with two and 0.011 s with one.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
