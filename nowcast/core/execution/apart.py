"""Work in a process of its own: whatever happens there costs an answer and nothing else."""

import math
import multiprocessing
import threading
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

import torch

from nowcast.core.errors import NowcastError
from nowcast.core.execution.processes import begin

Answer = Callable[[Any], Any]


class Unanswered(NowcastError):
    """Work that gave no answer: it took too long, its process died, or it failed."""


class Apart:
    """Answers requests one by one in a child process. Where an answer takes too long, or the work
    fails for a reason that is not a NowcastError, the process is killed, and a new one is started
    by `start` or the next request.

    Args:
        prepare: called once in the child; what it returns answers the requests. Requests that
            arrive where it has failed are answered by its failure.
        *given: its arguments. All of them, requests and answers are pickled.
    """

    def __init__(self, prepare: Callable[..., Answer], *given: Any) -> None:
        self._work = (prepare, given)
        self._process: Any = None
        self._connection: Any = None

    @property
    def pid(self) -> int | None:
        """Of the child; None where there is none."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Start the child, if there is none that lives; it gets ready on its own."""
        if self._process is not None and self._process.is_alive():
            return
        self.close()
        context = multiprocessing.get_context("spawn")  # a fork would share torch's threads
        self._connection, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(theirs, torch.get_num_threads(), *self._work), daemon=True
        )
        self._process.start()
        theirs.close()  # so that a dead child is the end of the pipe

    def ask(self, request: Any, seconds: float = math.inf) -> Any:
        """The answer to a request; a child that has to start first does so within these seconds.

        Raises:
            Unanswered: there was none in time, the process died, or the work failed.
            NowcastError: what the work raised.
        """
        self.start()
        process, connection = self._process, self._connection
        late = threading.Event()

        def kill() -> None:  # which ends whatever send or recv waits for
            late.set()
            process.kill()

        timer = threading.Timer(min(max(seconds, 0.0), threading.TIMEOUT_MAX), kill)
        timer.daemon = True
        timer.start()
        try:
            connection.send(request)
            done, found = connection.recv()
        except (EOFError, OSError) as error:
            self.close()
            why = f"took longer than {seconds:.1f} s" if late.is_set() else "its process died"
            raise Unanswered(why) from error
        finally:
            timer.cancel()
        if done:
            return found
        if isinstance(found, NowcastError):
            raise found
        self.close()  # memory, or the GPU, may be in any state
        raise Unanswered(found)

    def close(self) -> None:
        """Kill the child, if there is one."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._connection.close()
        self._process = self._connection = None


def _serve(
    connection: Connection, threads: int, prepare: Callable[..., Answer], given: tuple[Any, ...]
) -> None:
    """What the child does until its parent is gone."""
    begin(threads, processes=1)
    failure: NowcastError | str | None = None
    try:
        answer = prepare(*given)
    except Exception as error:
        failure = _told(error)
    with suppress(EOFError, OSError):
        while True:
            request = connection.recv()
            try:
                found = (False, failure) if failure is not None else (True, answer(request))
            except Exception as error:
                found = (False, _told(error))
            connection.send(found)


def _told(error: Exception) -> NowcastError | str:
    return error if isinstance(error, NowcastError) else f"{type(error).__name__}: {error}"
