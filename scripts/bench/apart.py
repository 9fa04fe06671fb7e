"""Work in a process of its own, that does it when told: two such take turns without sharing memory.

Within one process the second of two ways inherits what the first left: memory that is mapped
already or has just been given back, threads, caches of the libraries. And the largest that a
process ever was belongs to one of them alone.
"""

import multiprocessing
import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from nowcast.core.errors import ConfigError

Function = Callable[[], object]
Make = Callable[..., Function | AbstractContextManager[Function]]

CALL, PEAK, END = "call", "peak", "end"

_starting = threading.Lock()  # the environment is one for all threads


class Apart:
    """A function in a process of its own; made by `apart`."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self.seconds = 0.0
        """What the last call took there, without the way to it and back."""

    def __call__(self) -> object:
        """Call it and wait for what it returns."""
        result, self.seconds = self._ask(CALL)
        return result

    def peak_mib(self) -> float:
        """By how much the process was larger than before the function was made, at most, MiB."""
        return float(self._ask(PEAK))

    def _ask(self, what: str) -> Any:
        self._pipe.send(what)
        answer = self._pipe.recv()
        if isinstance(answer, BaseException):
            raise answer
        return answer


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
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=_serve, args=(theirs, make, args, threads), daemon=True
    )
    with _starting, _handed_down(cores, environment or {}):
        process.start()
    theirs.close()
    try:
        failure = ours.recv()
        if failure is not None:
            raise failure
        yield Apart(ours)
    finally:
        if process.is_alive():
            ours.send(END)
        process.join()
        ours.close()


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
            if name in variables:
                os.environ[name] = variables[name]
            else:
                os.environ.pop(name, None)


def _serve(pipe: Connection, make: Make, args: tuple[object, ...], threads: int) -> None:
    with ExitStack() as stack:
        try:
            import torch

            torch.set_num_threads(threads)
            _warm_up()
            before = memory_kib()["VmRSS"]
            function = make(*args)
            if isinstance(function, AbstractContextManager):
                function = stack.enter_context(function)
            pipe.send(None)
        except BaseException as error:
            pipe.send(error)
            return
        while (what := pipe.recv()) != END:
            try:
                if what == PEAK:
                    pipe.send((memory_kib()["VmHWM"] - before) / 1024)
                    continue
                began = time.perf_counter()
                result = function()
                pipe.send((result, time.perf_counter() - began))
            except BaseException as error:
                pipe.send(error)


def _warm_up() -> None:
    """What a first convolution loads is no part of what is measured."""
    import torch

    convolution = torch.nn.Conv2d(1, 8, 3)
    convolution(torch.rand(1, 1, 8, 8)).sum().backward()


def memory_kib() -> Mapping[str, int]:
    """This process's memory as Linux has it: ``VmRSS`` now, ``VmHWM`` at most."""
    status = Path("/proc/self/status").read_text()
    return {name: int(size) for name, size in re.findall(r"(Vm\w+):\s+(\d+) kB", status)}
