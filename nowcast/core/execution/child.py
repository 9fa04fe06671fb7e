"""Work in a process of its own, for engines whose workers cannot take signals: dask's threads.

The process gets its work by its standard input, which stays open for as long as it is wanted: where
its parent stops, or dies, the work saves and stops. The outcome comes by its standard output.
"""

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection

from nowcast.core.errors import RunError
from nowcast.core.execution.executor import Outcome, Place, Work, outcome_of
from nowcast.core.execution.processes import prepare
from nowcast.core.storage.runs import RunTaken
from nowcast.core.system.distributed import Ranks
from nowcast.core.system.machine import usable_cpus
from nowcast.core.system.signals import Interrupted

POLL_SECONDS = 0.2
TAKEN_SECONDS = 600.0  # in which a process that has lost its parent must have saved its run
START = f"from {__name__} import main; main()"


class Child:
    """A process that does one piece of work, begun at once.

    Args:
        payload: of `packed`.
        threads: of torch; 0 is all processors that it may use.
    """

    def __init__(self, payload: bytes, threads: int) -> None:
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        self._process = subprocess.Popen(
            [sys.executable, "-c", START, str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._lifeline = Connection(os.dup(self._process.stdin.fileno()), readable=False)
        self._process.stdin.close()
        self._answer = Connection(os.dup(self._process.stdout.fileno()), writable=False)
        self._process.stdout.close()
        self._outcome: Outcome | None = None
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        with suppress(BrokenPipeError):  # it has died; its status says so
            self._lifeline.send_bytes(payload)

    def _read(self) -> None:
        with self._answer, suppress(EOFError):
            self._outcome = self._answer.recv()

    def is_at_work(self) -> bool:
        """Whether its process has not ended."""
        return self._process.poll() is None

    def stop(self) -> Outcome:
        """Tell it to save and stop, if it has not ended, and wait for that.

        Returns:
            what came of its work; an error where it was stopped, or its process died.
        """
        self._lifeline.close()
        self._reader.join()
        status = self._process.wait()
        if self._outcome is not None:
            return self._outcome
        return Outcome(
            error=RunError(
                f"its process ended with status {status}; if the machine ran out of memory, give "
                "each piece of work more. The same command goes on"
            )
        )


def in_child(child: Child, stopping: Callable[[], bool]) -> Outcome:
    """Wait for a child; once `stopping`, asked now and then, says so, it saves and stops."""
    try:
        while child.is_at_work() and not stopping():
            time.sleep(POLL_SECONDS)
    finally:
        outcome = child.stop()
    return outcome


def packed(work: Work) -> bytes:
    """Work for a `Child`, on any machine where the same packages are installed. Whoever carries it
    need not import them."""
    return pickle.dumps(work)


def main() -> None:
    """What the process does."""
    inlet, outlet = Connection(os.dup(0), writable=False), Connection(os.dup(1), readable=False)
    os.dup2(2, 1)  # what the work prints is for the log
    prepare(int(sys.argv[1]) or usable_cpus(), 1)
    work: Work = inlet.recv()
    _end_with(inlet.fileno())
    with inlet, outlet, suppress(Interrupted):
        deadline = time.monotonic() + TAKEN_SECONDS
        while True:
            outcome = outcome_of(work, Place(Ranks()))
            if not isinstance(outcome.error, RunTaken) or time.monotonic() > deadline:
                break
            time.sleep(1)  # whoever has it has lost its parent, and saves
        outlet.send(outcome)


def _end_with(lifeline: int) -> None:
    def wait() -> None:
        os.read(lifeline, 1)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()
