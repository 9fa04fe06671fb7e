"""The jobs of a comparison, done by an executor."""

from collections.abc import Sequence
from dataclasses import dataclass

from nowcast.core.execution.executor import Executor, Place, carry_out
from nowcast.core.execution.jobs import Build, Job, complete
from nowcast.core.execution.processes import Processes
from nowcast.core.system.devices import pick_device
from nowcast.core.system.distributed import Ranks
from nowcast.core.terminal.progress import line
from nowcast.core.training.precision import warn_if_emulated


@dataclass(frozen=True)
class CompleteJob:
    """The `Work` of training and scoring a job.

    Args:
        job: which.
        build: settings, and a task to share data with -> the task.
        split: to score it on.
    """

    job: Job
    build: Build
    split: str

    @property
    def title(self) -> str:
        """See `Work`."""
        return self.job.title

    def is_ready(self) -> bool:
        """See `Work`."""
        return self.job.needs is None or self.job.needs.is_finished

    def do(self, place: Place) -> None:
        """See `Work`."""
        place.task = self.build(self.job.settings, place.task)
        complete(self.job, place.task, self.split, place.ranks)


def complete_side_by_side(
    jobs: Sequence[Job], build: Build, split: str, executor: Executor
) -> None:
    """Train and score the jobs that are not complete, each after the one that it starts from.

    Raises:
        Interrupted: a signal came; all are saved.
        RunError: some failed; told once all others are complete.
    """
    works = [CompleteJob(job, build, split) for job in jobs if not job.is_complete(split)]
    if isinstance(executor, Processes):
        for job in (work.job for work in works):
            if job.trains and job.settings.train.precision != "fp32":
                device = pick_device(job.settings.train.device, Ranks())
                warn_if_emulated(job.settings, device)
    if works:
        with line("runs and baselines", len(works), unit="finished") as finished:
            carry_out(works, executor, lambda done: finished.set(done, len(works)))
