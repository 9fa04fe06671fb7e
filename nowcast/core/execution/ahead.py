"""Work in threads that stays in order and in bounds: items made ahead, and tasks behind."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from nowcast.core.system.machine import usable_cpus

Item = TypeVar("Item")

_END = object()


def ahead(items: Iterable[Item], count: int) -> Generator[Item]:
    """The same items in their order; so many are made in a thread while one is used.

    What making one raises is raised in its place. Close the iterator to leave early.
    """
    pool = ThreadPoolExecutor(1)
    source = iter(items)
    waiting: deque[Future[Any]] = deque()
    try:
        waiting.extend(pool.submit(next, source, _END) for _ in range(count))
        while (item := waiting.popleft().result()) is not _END:
            waiting.append(pool.submit(next, source, _END))
            yield item
    finally:
        pool.shutdown(cancel_futures=True)


class Behind:
    """Tasks that threads do behind their caller, a bounded number at a time.

    What one raises is raised by a later `do` or by `finish`.

    Args:
        workers: threads; None: one for each processor.
    """

    def __init__(self, workers: int | None = None) -> None:
        count = usable_cpus() if workers is None else workers
        self._pool = ThreadPoolExecutor(count)
        self._most = 2 * count
        self._waiting: deque[Future[None]] = deque()

    def do(self, task: Callable[[], None]) -> None:
        """Have a task done, after waiting for the oldest where too many wait."""
        self._waiting.append(self._pool.submit(task))
        while len(self._waiting) > self._most:
            self._waiting.popleft().result()

    def finish(self) -> None:
        """Wait for all."""
        while self._waiting:
            self._waiting.popleft().result()

    def close(self) -> None:
        """Drop what waits, and wait for what is being done."""
        self._pool.shutdown(cancel_futures=True)
