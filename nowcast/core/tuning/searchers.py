"""A search's processes side by side: each takes one trial after another, until none is left."""

import multiprocessing
import os
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from multiprocessing.queues import SimpleQueue
from typing import TypeAlias

from nowcast.core.errors import NowcastError, RunError
from nowcast.core.execution.processes import begin, failures_told
from nowcast.core.execution.relay import Mirror, Relay, Report, Said
from nowcast.core.system.signals import Interrupted, stop_signals
from nowcast.core.terminal.progress import line, shown
from nowcast.core.tuning.search import Search, Searcher
from nowcast.core.tuning.trials import Trials, quiet

POLL_SECONDS = 0.2

Answers: TypeAlias = "SimpleQueue[Report | Said | NowcastError | str]"


def search_side_by_side(search: Search, name: str, count: int, trials: Trials) -> None:
    """Run all trials, `count` at a time.

    A signal to this process, or a failure in one of them, stops all at their next step; what they
    have done is saved.

    Args:
        search: what and where.
        name: of the study.
        count: of processes.
        trials: the study, to see how far it is.

    Raises:
        Interrupted: a signal came.
        NowcastError: what a process raised.
        RunError: a process died or failed.
    """
    context = multiprocessing.get_context("spawn")
    threads = max(1, (os.cpu_count() or 1) // count)
    total = search.tune.trials or search.tune.size or 0
    workers: list[_Worker] = []
    with ExitStack() as stack, stop_signals() as stopping:
        settings = stack.enter_context(line(search.variant, total, unit="settings tried"))
        stack.callback(_stop, workers)
        for _ in range(count):
            answers: Answers = context.SimpleQueue()
            what = (search, name, threads, count, answers)
            workers.append(_Worker(context.Process(target=_work, args=what), answers))
            workers[-1].process.start()
        working = True
        while working:
            working = any(worker.process.is_alive() for worker in workers)
            if stopping.is_set():
                raise Interrupted("stopped, all trials saved; the same command goes on from there")
            done = len(trials.all()) - len(trials.unfinished())
            if done != settings.done:
                settings.set(done, total)
            for worker in workers:
                _look_after(worker)
            time.sleep(POLL_SECONDS)


@dataclass
class _Worker:
    process: BaseProcess
    answers: Answers
    mirror: Mirror = field(default_factory=Mirror)


def _look_after(worker: _Worker) -> None:
    status = worker.process.exitcode  # before its last answers are taken
    while not worker.answers.empty():
        answer = worker.answers.get()
        if isinstance(answer, Report | Said):
            worker.mirror.take(answer)
        elif isinstance(answer, NowcastError):
            raise answer
        else:
            raise RunError(f"a process of the search failed:\n{answer}")
    if status:
        raise RunError(
            f"a process of the search ended with status {status}; if the machine ran out of "
            "memory, use fewer --jobs. The same command goes on"
        )


def _stop(workers: list[_Worker]) -> None:
    """End all processes; one that is training saves first."""
    for worker in workers:
        worker.process.terminate()  # SIGTERM, which the loop answers by saving
    for worker in workers:
        worker.process.join()
        worker.mirror.close()


def _work(
    search: Search,
    name: str,
    threads: int,
    processes: int,
    answers: Answers,
) -> None:
    begin(threads, processes)
    with (
        suppress(Interrupted),
        failures_told(answers),
        shown(Relay(answers.put)),
        quiet(),
    ):
        trials = Trials(name, search.tune, search.folder, search.url)
        Searcher(search, trials).work()
