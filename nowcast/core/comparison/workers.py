"""Runs side by side: worker processes that each complete one job of a comparison after another.

On a few cores, processes of one thread each train more per second than one process of many threads.
"""

import multiprocessing
import os
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from multiprocessing.queues import SimpleQueue

from nowcast.core.comparison.jobs import Build, Job, complete
from nowcast.core.distributed import Ranks
from nowcast.core.errors import NowcastError, RunError
from nowcast.core.evaluate import pick_device
from nowcast.core.monitoring.log import Bar, Bars, bars
from nowcast.core.task import Task
from nowcast.core.training.length import length
from nowcast.core.training.precision import warn_if_emulated
from nowcast.core.training.processes import begin, failures_told
from nowcast.core.training.signals import Interrupted, stop_signals

POLL_SECONDS = 0.5


@dataclass
class _Worker:
    process: BaseProcess
    orders: "SimpleQueue[Job | None]"
    answers: "SimpleQueue[NowcastError | str | None]"
    job: Job | None = None
    line: Bar | None = None
    total: int = 1
    """Steps of its job; what trains nothing counts as one."""

    def start(self, job: Job, total: int, lines: Bars) -> None:
        self.job, self.total = job, total
        self.line = lines.add(job.title, total)
        self.orders.put(job)

    def watch(self) -> None:
        """Move the bar to the last step that the run's history tells of."""
        assert self.job is not None and self.line is not None
        history = self.job.run.history()
        step = history[-1]["step"] if history else 0
        loss = next((entry["loss"] for entry in reversed(history) if "loss" in entry), None)
        self.line.advance(None if loss is None else f"loss {loss:.4g}", by=0)
        self.line.set(step, self.total)


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
    with ExitStack() as stack, bars() as lines, stop_signals() as stopping:
        stack.callback(_stop, workers)
        for _ in range(processes):
            orders, answers = context.SimpleQueue(), context.SimpleQueue()
            what = (orders, answers, build, split, threads, processes)
            process = context.Process(target=_work, args=what)
            process.start()
            workers.append(_Worker(process, orders, answers))
        waiting = list(jobs)
        task: Task | None = None
        while waiting or any(worker.job for worker in workers):
            if stopping.is_set():
                raise Interrupted("stopped, all runs saved; the same command goes on from there")
            for worker in workers:
                _tend(worker)
                ready = next((job for job in waiting if _is_ready(job)), None)
                if worker.job is None and ready is not None:
                    waiting.remove(ready)
                    task = build(ready.settings, task)
                    total = length(ready.settings.train, task).steps if ready.trains else 1
                    worker.start(ready, total, lines)
            time.sleep(POLL_SECONDS)


def _is_ready(job: Job) -> bool:
    return job.needs is None or job.needs.is_finished


def _tend(worker: _Worker) -> None:
    """Take a worker's answer if it has one, show how far it is, notice if it died."""
    if worker.job is None:
        return
    worker.watch()
    if not worker.answers.empty():
        answer = worker.answers.get()
        if isinstance(answer, NowcastError):
            raise answer
        if answer is not None:
            raise RunError(f"{worker.job.title} failed:\n{answer}")
        assert worker.line is not None
        worker.line.set(worker.total, worker.total)
        worker.job = None
    elif not worker.process.is_alive():
        raise RunError(
            f"{worker.job.title}: its process ended with status {worker.process.exitcode}; if the "
            "machine ran out of memory, use fewer --jobs. The same command goes on"
        )


def _stop(workers: list[_Worker]) -> None:
    """End all workers; one that is training saves first."""
    for worker in workers:
        worker.orders.put(None)  # for one that is idle, or has just done its last step
        if worker.job is not None:
            worker.process.terminate()  # SIGTERM, which the loop answers by saving
    for worker in workers:
        worker.process.join()


def _work(
    orders: "SimpleQueue[Job | None]",
    answers: "SimpleQueue[NowcastError | str | None]",
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
            with failures_told(answers):
                task = build(job.settings, task)
                complete(job, task, split, Ranks(), shown=False)
                answers.put(None)
