"""Work in a process of its own, done when asked: two such take turns without sharing memory.

Within one process the second of two ways inherits what the first left: memory that is mapped
already or has just been given back, threads, caches of the libraries. And the largest that a
process ever was belongs to one of them alone.
"""

import multiprocessing
import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

from nowcast.core.errors import ConfigError

Function = Callable[[], object]
Make = Callable[..., Function | AbstractContextManager[Function]]

_starting = threading.Lock()  # the environment is one for all threads


class Apart:
    """A function in a process of its own; made by `apart`."""

    def __init__(self, pool: ProcessPoolExecutor) -> None:
        self._pool = pool

    def __call__(self) -> object:
        """Call it and wait for what it returns."""
        return self._pool.submit(_Worker.call).result()

    def peak_mib(self) -> float:
        """By how much the process was larger than before the function was made, at most, MiB."""
        return self._pool.submit(_Worker.peak_mib).result()


@contextmanager
def apart(
    make: Make,
    *args: object,
    threads: int = 1,
    cores: int | None = None,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Apart]:
    """Start a process, in which `make(*args)` gives the function.

    Args:
        make: of a module that can be imported. It may give a context manager of the function,
            which is left when the process ends.
        args: of `make`; can be pickled.
        threads: of torch there.
        cores: that the process may use, for libraries with threads of their own; None is all.
        environment: variables that are set there from the beginning, beside those of this process.

    Raises:
        ConfigError: there are fewer cores.
        Exception: what `make`, or later the function, raised there.
    """
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        with _starting, _handed_down(cores, environment or {}):
            made = pool.submit(_Worker.begin, make, args, threads)
        made.result()
        try:
            yield Apart(pool)
        finally:
            pool.submit(_Worker.close).result()


@contextmanager
def _handed_down(cores: int | None, environment: Mapping[str, str]) -> Iterator[None]:
    """What a process that starts meanwhile begins with: many libraries look once, on import."""
    allowed, variables = os.sched_getaffinity(0), dict(os.environ)
    if cores is not None and not 1 <= cores <= len(allowed):
        raise ConfigError(
            f"cores: expected 1 to {len(allowed)}, which this process may use, found {cores}"
        )
    try:
        os.sched_setaffinity(0, sorted(allowed)[:cores])
        os.environ.update(environment)
        yield
    finally:
        os.sched_setaffinity(0, allowed)
        for name in environment:
            os.environ.pop(name)
        os.environ.update(variables)


class _Worker:
    """The state of the other process."""

    stack = ExitStack()
    function: Function
    before_kib: int

    @classmethod
    def begin(cls, make: Make, args: tuple[object, ...], threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        # What a first convolution loads is no part of what is measured.
        torch.nn.Conv2d(1, 8, 3)(torch.rand(1, 1, 8, 8)).sum().backward()
        cls.before_kib = memory_kib("VmRSS")
        made = make(*args)
        cls.function = staticmethod(
            cls.stack.enter_context(made) if isinstance(made, AbstractContextManager) else made
        )

    @classmethod
    def call(cls) -> object:
        return cls.function()

    @classmethod
    def peak_mib(cls) -> float:
        return (memory_kib("VmHWM") - cls.before_kib) / 1024

    @classmethod
    def close(cls) -> None:
        cls.stack.close()


def memory_kib(name: str) -> int:
    """This process's memory as Linux has it: ``VmRSS`` now, ``VmHWM`` at most."""
    (size,) = re.findall(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(size)
