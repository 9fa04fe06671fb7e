"""Runs side by side: worker processes that each complete one job of a comparison after another.

On a few cores, processes of one thread each train more per second than one process of many threads.
"""

import multiprocessing
import os
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from multiprocessing.queues import SimpleQueue

from nowcast.core.errors import NowcastError, RunError
from nowcast.core.execution.jobs import Build, Job, complete
from nowcast.core.execution.processes import begin, failures_told
from nowcast.core.execution.relay import Mirror, Relay, Report, Said
from nowcast.core.system.distributed import Ranks
from nowcast.core.system.signals import Interrupted, stop_signals
from nowcast.core.terminal.progress import line, shown
from nowcast.core.training.evaluate import pick_device
from nowcast.core.training.precision import warn_if_emulated
from nowcast.core.training.task import Task

POLL_SECONDS = 0.5


@dataclass
class _Worker:
    process: BaseProcess
    orders: "SimpleQueue[Job | None]"
    answers: "SimpleQueue[Report | Said | NowcastError | str | None]"
    job: Job | None = None
    mirror: Mirror = field(default_factory=Mirror)

    def start(self, job: Job) -> None:
        self.job = job
        self.orders.put(job)


def complete_side_by_side(jobs: Sequence[Job], build: Build, split: str, count: int) -> None:
    """Train and score all jobs, `count` at a time, each after the one it starts from; a single one
    is left to the caller.

    A signal to this process, or a failure in one worker, stops all of them at their next step;
    what they have done is saved.

    Raises:
        Interrupted: a signal came.
        NowcastError: what a job raised.
        RunError: a worker died or failed.
    """
    jobs = [job for job in jobs if not job.is_complete(split)]
    for job in jobs:
        if job.trains:
            warn_if_emulated(job.settings, pick_device(job.settings.train.device, Ranks()))
    if len(jobs) < 2:
        return  # the caller's own process does as well
    context = multiprocessing.get_context("spawn")
    processes = min(count, len(jobs))
    threads = max(1, (os.cpu_count() or 1) // count)
    workers: list[_Worker] = []
    with ExitStack() as stack, stop_signals() as stopping:
        runs = stack.enter_context(line("runs and baselines", len(jobs), unit="finished"))
        stack.callback(_stop, workers)
        for _ in range(processes):
            orders, answers = context.SimpleQueue(), context.SimpleQueue()
            what = (orders, answers, build, split, threads, processes)
            process = context.Process(target=_work, args=what)
            process.start()
            workers.append(_Worker(process, orders, answers))
        waiting = list(jobs)
        while waiting or any(worker.job for worker in workers):
            if stopping.is_set():
                raise Interrupted("stopped, all runs saved; the same command goes on from there")
            for worker in workers:
                if _tend(worker):
                    runs.advance()
                ready = next((job for job in waiting if _is_ready(job)), None)
                if worker.job is None and ready is not None:
                    waiting.remove(ready)
                    worker.start(ready)
            time.sleep(POLL_SECONDS)


def _is_ready(job: Job) -> bool:
    return job.needs is None or job.needs.is_finished


def _tend(worker: _Worker) -> bool:
    """Take a worker's answers, show how far it is, notice if it died; True once its job is done."""
    if worker.job is None:
        return False
    alive = worker.process.is_alive()  # before its last answers are taken
    while worker.job is not None and not worker.answers.empty():
        answer = worker.answers.get()
        if isinstance(answer, Report | Said):
            worker.mirror.take(answer)
        elif isinstance(answer, NowcastError):
            raise answer
        elif answer is not None:
            raise RunError(f"{worker.job.title} failed:\n{answer}")
        else:
            worker.job = None
            return True
    if worker.job is not None and not alive:
        raise RunError(
            f"{worker.job.title}: its process ended with status {worker.process.exitcode}; if the "
            "machine ran out of memory, use fewer --jobs. The same command goes on"
        )
    return False


def _stop(workers: list[_Worker]) -> None:
    """End all workers; one that is training saves first."""
    for worker in workers:
        worker.orders.put(None)  # for one that is idle, or has just done its last step
        if worker.job is not None:
            worker.process.terminate()  # SIGTERM, which the loop answers by saving
    for worker in workers:
        worker.process.join()
        worker.mirror.close()


def _work(
    orders: "SimpleQueue[Job | None]",
    answers: "SimpleQueue[Report | Said | NowcastError | str | None]",
    build: Build,
    split: str,
    threads: int,
    processes: int,
) -> None:
    """What a worker process does until it is told None."""
    begin(threads, processes)
    task: Task | None = None
    with suppress(Interrupted):
        while (job := orders.get()) is not None:
            with failures_told(answers), shown(Relay(answers.put)):
                task = build(job.settings, task)
                complete(job, task, split, Ranks())
                answers.put(None)
