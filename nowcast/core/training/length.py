"""The length of a run in optimiser steps, which a config may give in epochs of the data."""

from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

from nowcast.core.settings import TrainSettings

if TYPE_CHECKING:
    from nowcast.core.training.task import Task


@dataclass(frozen=True)
class Length:
    """Of a run, in steps.

    Args:
        steps: in all.
        validate_every: between validations.
    """

    steps: int
    validate_every: int

    @property
    def validations(self) -> int:
        """How often it validates: every so many steps and at its end."""
        return ceil(self.steps / self.validate_every)

    def is_validated(self, step: int) -> bool:
        """Whether it validates after this many steps."""
        return step % self.validate_every == 0 or step == self.steps


def length(train: TrainSettings, task: "Task") -> Length:
    """The length of a run of a task; an epoch begun is an epoch finished."""

    def steps(epochs: float) -> int:
        return ceil(epochs * task.epoch() / train.batch_size)

    total = train.steps
    if total is None:
        assert train.epochs is not None
        total = steps(train.epochs)
    return Length(total, train.validate_every or steps(1.0))
