"""Work through submitit: a job of Slurm for each piece, which is queued again where it is preempted
or out of time, and goes on.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any
from uuid import uuid4

import submitit

from nowcast.core.errors import RunError
from nowcast.core.execution.child import Child, in_child, packed
from nowcast.core.execution.cluster import ClusterSettings
from nowcast.core.execution.executor import Outcome, Work

SAVING_SECONDS = 600.0  # in which work must have saved once it is told to
POLL_SECONDS = 0.5
REQUEUED = 1000  # times that a job may run out of its time: each goes on from the one before


class ThroughSubmitit:
    """An `Executor` of batch jobs.

    Args:
        cluster: what is asked of the batch system.
        room: how many jobs are queued at once.
        folder: for scripts, logs and results, which the machines share.
    """

    def __init__(self, cluster: ClusterSettings, room: int, folder: Path) -> None:
        self.room = room
        self._folder = folder
        self._cluster = cluster
        self._jobs: dict[int, submitit.Job[Outcome]] = {}

    def __enter__(self) -> "ThroughSubmitit":
        self._folder.mkdir(parents=True, exist_ok=True)
        self._stop_file = self._folder / f"stop-{uuid4()}"
        self._engine = submitit.AutoExecutor(
            self._folder / "%j", cluster=self._cluster.where, slurm_max_num_timeout=REQUEUED
        )
        gpus = 1 if self._cluster.gpus is None else self._cluster.gpus
        asked = {"name": "nowcast", "gpus_per_node": gpus}
        self._engine.update_parameters(**asked | self._cluster.given)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Cancel what is queued, tell the rest to save and stop, and wait until it has."""
        if not self._jobs:
            return
        self._stop_file.touch()
        for job in self._jobs.values():
            if job.state == "PENDING":
                job.cancel()
        deadline = time.monotonic() + SAVING_SECONDS
        while time.monotonic() < deadline and not all(job.done() for job in self._jobs.values()):
            time.sleep(POLL_SECONDS)
        self._stop_file.unlink()
        self._jobs.clear()

    def submit(self, key: int, work: Work) -> None:
        """See `Executor`."""
        order = _Order(packed(work), self._cluster.threads or 0, self._stop_file)
        self._jobs[key] = self._engine.submit(order)

    def poll(self) -> Sequence[tuple[int, Outcome]]:
        """See `Executor`."""
        ended = {key: job for key, job in self._jobs.items() if job.done()}
        for key in ended:
            del self._jobs[key]
        return [(key, _outcome(job)) for key, job in ended.items()]


class _Order(submitit.helpers.Checkpointable):
    """What a job does; queued again, it begins anew, and the work goes on from what it saved.

    Args:
        payload: of `packed`.
        threads: of torch; 0 is all that the job may use.
        stop_file: is there once the command wants the job to stop.
    """

    def __init__(self, payload: bytes, threads: int, stop_file: Path) -> None:
        self.payload, self.threads, self.stop_file = payload, threads, stop_file
        self._child: Child | None = None

    def __call__(self) -> Outcome:
        self._child = Child(self.payload, self.threads)
        return in_child(self._child, self.stop_file.exists)

    def checkpoint(self) -> submitit.helpers.DelayedSubmission:
        """What submitit calls, in a signal's handler, when the job must leave its machine."""
        if self._child is not None:
            self._child.stop()
        again = _Order(self.payload, self.threads, self.stop_file)
        return submitit.helpers.DelayedSubmission(again)


def _outcome(job: "submitit.Job[Any]") -> Outcome:
    try:
        outcome = job.result()
    except Exception as error:  # of submitit, or of what it could not unpickle
        reason = str(error).strip().splitlines()[-1:]
        return Outcome(
            error=RunError(
                f"job {job.job_id} ended without a result ({' '.join(reason)}); its log is "
                f"{job.paths.stderr}. The same command goes on"
            )
        )
    assert isinstance(outcome, Outcome)
    return outcome
