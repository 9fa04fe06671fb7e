"""Worker processes of this machine, side by side: each does one piece of work after another.

On a few cores, processes of one thread each train more per second than one process of many threads.
On a machine with GPUs they take those in turn.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from multiprocessing.queues import SimpleQueue
from types import TracebackType

import torch

from nowcast.core.errors import RunError
from nowcast.core.execution.executor import Outcome, Place, Work, outcome_of
from nowcast.core.execution.relay import Mirror, Relay, Report, Said
from nowcast.core.system.allocator import tune_process
from nowcast.core.system.distributed import Ranks
from nowcast.core.system.machine import usable_cpus
from nowcast.core.system.shared_memory import share_memory_with
from nowcast.core.system.signals import Interrupted
from nowcast.core.terminal.progress import shown


@dataclass
class _Worker:
    slot: int
    process: BaseProcess
    orders: "SimpleQueue[Work | None]"
    answers: "SimpleQueue[Report | Said | Outcome]"
    key: int | None = None  # of the work that it is at
    mirror: Mirror = field(default_factory=Mirror)


class Processes:
    """An `Executor` of worker processes; what they work at is shown as a part of what this process
    works at.

    Args:
        room: how many.
    """

    def __init__(self, room: int) -> None:
        self.room = room
        self._workers: list[_Worker] = []

    def __enter__(self) -> "Processes":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End all workers; one that is at work saves first."""
        for worker in self._workers:
            worker.orders.put(None)  # for one that is idle, or has just done its last step
            if worker.key is not None:
                worker.process.terminate()  # SIGTERM, which the loop answers by saving
        for worker in self._workers:
            worker.process.join()
            worker.mirror.close()
        self._workers.clear()

    def submit(self, key: int, work: Work) -> None:
        """See `Executor`."""
        idle = next((worker for worker in self._workers if worker.key is None), None)
        if idle is None:
            self._workers.append(idle := self._started())
        idle.key = key
        idle.orders.put(work)

    def poll(self) -> Sequence[tuple[int, Outcome]]:
        """See `Executor`."""
        return [
            (key, outcome)
            for worker in list(self._workers)
            if (key := worker.key) is not None and (outcome := self._tend(worker)) is not None
        ]

    def _started(self) -> _Worker:
        context = multiprocessing.get_context("spawn")
        orders, answers = context.SimpleQueue(), context.SimpleQueue()
        taken = {worker.slot for worker in self._workers}
        slot = next(number for number in range(self.room) if number not in taken)
        what = (orders, answers, max(1, usable_cpus() // self.room), self.room, slot)
        process = context.Process(target=_work, args=what)
        process.start()
        return _Worker(slot, process, orders, answers)

    def _tend(self, worker: _Worker) -> Outcome | None:
        """Take a worker's answers, show how far it is, notice if it died."""
        alive = worker.process.is_alive()  # before its last answers are taken
        while not worker.answers.empty():
            answer = worker.answers.get()
            if isinstance(answer, Outcome):
                worker.key = None
                return answer
            worker.mirror.take(answer)
        if alive:
            return None
        worker.mirror.close()
        self._workers.remove(worker)  # another takes its place
        return Outcome(
            error=RunError(
                f"its process ended with status {worker.process.exitcode}; if the machine ran out "
                "of memory, use fewer --jobs. The same command goes on"
            )
        )


def _work(
    orders: "SimpleQueue[Work | None]",
    answers: "SimpleQueue[Report | Said | Outcome]",
    threads: int,
    processes: int,
    slot: int,
) -> None:
    """What a worker process does until it is told None."""
    begin(threads, processes)
    place = Place(Ranks(local=slot))
    with suppress(Interrupted), shown(Relay(answers.put)):
        while (work := orders.get()) is not None:
            answers.put(outcome_of(work, place))


def begin(threads: int, processes: int) -> None:
    """Get ready, as `prepare`; and do not outlive the command that started this process."""
    prepare(threads, processes)
    _end_with_parent()


def prepare(threads: int, processes: int) -> None:
    """Get ready to train for a command: so many threads, and Ctrl-C is the command's to answer.

    Args:
        threads: of torch in this process.
        processes: side by side, this one among them.
    """
    share_memory_with(processes)
    tune_process()
    torch.set_num_threads(threads)
    # Ctrl-C reaches every process of a terminal; the loop answers it for as long as it trains.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _end_with_parent() -> None:
    """In a worker process: where the command itself is killed, save and stop as it would have told
    this process to, so that the same command finds the run free."""

    def wait() -> None:
        parent = multiprocessing.parent_process()
        assert parent is not None
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()
