"""A search's processes side by side: each takes one trial after another, until none is left."""

import multiprocessing
import os
import time
from contextlib import ExitStack, suppress
from multiprocessing.process import BaseProcess
from multiprocessing.queues import SimpleQueue

from nowcast.core.errors import NowcastError, RunError
from nowcast.core.monitoring.log import bars
from nowcast.core.training.processes import begin, failures_told
from nowcast.core.training.signals import Interrupted, stop_signals
from nowcast.core.tuning.search import Search, Searcher
from nowcast.core.tuning.trials import Trials, quiet

POLL_SECONDS = 0.2


def search_side_by_side(search: Search, name: str, place: str, count: int, trials: Trials) -> None:
    """Run all trials, `count` at a time.

    A signal to this process, or a failure in one of them, stops all at their next step; what they
    have done is saved.

    Args:
        search: what and where.
        name: of the study.
        place: as of `Searcher`.
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
    workers: list[tuple[BaseProcess, SimpleQueue[NowcastError | str]]] = []
    with ExitStack() as stack, bars() as lines, stop_signals() as stopping:
        stack.callback(_stop, workers)
        for _ in range(count):
            answers: SimpleQueue[NowcastError | str] = context.SimpleQueue()
            what = (search, name, place, threads, count, answers)
            workers.append((context.Process(target=_work, args=what), answers))
            workers[-1][0].start()
        line = lines.add(f"{search.variant} settings", total)
        working = True
        while working:
            working = any(process.is_alive() for process, _ in workers)
            if stopping.is_set():
                raise Interrupted("stopped, all trials saved; the same command goes on from there")
            line.set(sum(trial.state.is_finished() for trial in trials.all()), total)
            for process, answers in workers:
                _look_after(process, answers)
            time.sleep(POLL_SECONDS)


def _look_after(process: BaseProcess, answers: "SimpleQueue[NowcastError | str]") -> None:
    if not answers.empty():
        answer = answers.get()
        if isinstance(answer, NowcastError):
            raise answer
        raise RunError(f"a process of the search failed:\n{answer}")
    if process.exitcode:
        raise RunError(
            f"a process of the search ended with status {process.exitcode}; if the machine ran out "
            "of memory, use fewer --jobs. The same command goes on"
        )


def _stop(workers: "list[tuple[BaseProcess, SimpleQueue[NowcastError | str]]]") -> None:
    """End all processes; one that is training saves first."""
    for process, _ in workers:
        process.terminate()  # SIGTERM, which the loop answers by saving
    for process, _ in workers:
        process.join()


def _work(
    search: Search,
    name: str,
    place: str,
    threads: int,
    processes: int,
    answers: "SimpleQueue[NowcastError | str]",
) -> None:
    begin(threads, processes)
    with suppress(Interrupted), failures_told(answers), quiet():
        trials = Trials(name, search.tune, search.folder, search.url)
        Searcher(search, trials, place, shown=False).work()
