"""The seam between the core and a task: four small protocols, cut by who asks.

`Task` is what training, tuning and plain evaluation ask; `Compared` what comparisons and
leaderboards ask on top of it; `Pictured` what TensorBoard and pages show; `Grouped` what the audit
of neurons asks. A task without the last three still trains and is scored.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nowcast.core.errors import ConfigError
from nowcast.core.memel.masks import FindMask
from nowcast.core.report.player import Reel
from nowcast.core.scoring.sums import Scores, Sums
from nowcast.core.scoring.table import Column
from nowcast.core.system.distributed import Ranks


@runtime_checkable
class Batch(Protocol):
    """What a task's model is trained and scored on."""

    def to(self, device: torch.device) -> "Batch":
        """The batch on a device."""
        ...

    def names(self) -> list[str]:
        """What each sample is, for messages."""
        ...

    def take(self, which: NDArray[np.int64]) -> "Batch":
        """The samples at these positions."""
        ...


@runtime_checkable
class Task(Protocol):
    """Model, data, loss and scores of one task, built from its settings."""

    sites: tuple[str, ...]
    """Where MEmeL sits unless the config says otherwise: socket names or patterns."""
    objective: tuple[str, ...]
    """The scores whose sum on the validation split selects the best weights: the least is best."""
    loss_scale: float | None
    """Training loss divided by that sum, to draw both in one chart; None if there is no such
    factor."""
    mask: FindMask | None
    """Which parts of a model's input are valid, for MEmeL (see `plug_in`); None: all of them."""

    def model(self) -> nn.Module:
        """A fresh model; its initial weights come from torch's global generator."""
        ...

    def dry_run(self, model: nn.Module) -> object:
        """Pass one sample through a model, to read the shapes inside it."""
        ...

    def training_batches(self, start: int, ranks: Ranks) -> Iterator[Any]:
        """This rank's share of the training batches, without end, from step `start` on."""
        ...

    def evaluation_batches(self, split: str, ranks: Ranks) -> Iterator[Any]:
        """This rank's share of a split, each sample once."""
        ...

    def epoch(self) -> int:
        """How many training samples one pass over them has."""
        ...

    def samples(self, split: str) -> int:
        """How many samples a split has when it is scored."""
        ...

    def loss(self, model: nn.Module, batch: Any) -> Tensor:
        """The training loss of a batch, a mean over its samples."""
        ...

    def score(self, model: nn.Module, batch: Any) -> Sums:
        """The sums of a batch; added up, they are those of a data set."""
        ...

    def read(self, sums: Sums) -> Scores:
        """The scores that sums of `score` or `verify` give."""
        ...

    def data_hash(self) -> str:
        """A hash of the samples of all splits: it changes when any of them does."""
        ...


@runtime_checkable
class Compared(Task, Protocol):
    """A task whose models can be compared: blocks for intervals, columns, baselines and facts."""

    columns: tuple[Column, ...]
    """The scores that tables show."""
    details: tuple[Column, ...]
    """Further scores, of `verify`, that leaderboards show."""
    reference: str
    """The baseline that skill scores and differences refer to."""

    def baseline(self, name: str) -> nn.Module:
        """A model that needs no training; raises UnknownForecaster for an unknown name."""
        ...

    def verify(self, model: nn.Module, batch: Any) -> Sums:
        """As `score`, with every further score: for tables, too slow for training."""
        ...

    def read_columns(self, sums: Sums) -> Mapping[str, float | None]:
        """The scores of `columns` and of the `tested` ones of `details` alone, which a bootstrap
        reads thousands of times."""
        ...

    def blocks(self, split: str, batch: Any) -> list[str]:
        """The block of each sample. Samples of one block are not independent (e.g. parts of one
        event); blocks are what a bootstrap resamples."""
        ...

    def block_names(self, split: str) -> list[str]:
        """All blocks of a split, in order."""
        ...

    def facts(self, split: str) -> Mapping[str, Any]:
        """What a split is and how it was cut, for reports and JSON; ``data`` names the data."""
        ...

    def describe(self, split: str) -> str:
        """The same in a line, for people."""
        ...


@runtime_checkable
class ScoresParts(Protocol):
    """A task that forecasts a batch once for all the blocks that it has samples of."""

    def score_parts(
        self, model: nn.Module, batch: Any, parts: Sequence[NDArray[np.intp]]
    ) -> list[Sums]:
        """As `score` of the samples at the places of each part."""
        ...


@runtime_checkable
class ReadsCurves(Protocol):
    """A task that reads the scores of its columns faster than all that `verify` sums."""

    def read_curves(self, sums: Sums) -> Scores:
        """As `read`, of the columns alone: the bands of charts need hundreds."""
        ...


@runtime_checkable
class Pictured(Protocol):
    """A task whose results can be looked at."""

    def pictures(self, model: nn.Module, split: str) -> Mapping[str, NDArray[np.uint8]]:
        """A few results as RGB images ``height width 3``, by caption."""
        ...

    def reels(self, models: Mapping[str, nn.Module], split: str) -> Sequence[Reel]:
        """A few results of several models beside the truth, for the player of a comparison's
        page."""
        ...

    def gallery(
        self,
        parts: Mapping[str, Mapping[str, Sums]],
        models: Mapping[str, nn.Module],
        split: str,
        out: Path,
    ) -> Mapping[str, Path]:
        """Write the pictures of a leaderboard.

        Args:
            parts: model -> block -> its sums, of `verify`; the reference is among the models.
            models: the same models by the same names.
            split: that they were scored on.
            out: folder of the leaderboard.

        Returns:
            Caption -> PNG or GIF file within `out`.
        """
        ...


@runtime_checkable
class Grouped(Task, Protocol):
    """A task whose samples can be grouped, for the audit of neurons."""

    features: tuple[str, ...]
    """Ways in which samples can be grouped, for `groups`."""

    def groups(self, feature: str, batch: Any) -> list[str]:
        """The group of each sample; raises ConfigError for an unknown feature."""
        ...


@runtime_checkable
class StatesItsData(Protocol):
    """A task that says what its training data are, for the run's folder to keep."""

    def trained_on(self) -> Mapping[str, Any]:
        """What a run of it has seen, as JSON holds it."""
        ...


@runtime_checkable
class Replayable(Protocol):
    """A task whose training step on a GPU may be recorded once and replayed (`graph`)."""

    replayable: bool
    """Whether the loss of a batch, a dataclass, is made of the batch's tensors on the device and
    its numbers alone, by the same kernels each time. Nothing of it may be read, drawn or counted
    by the host, but torch's generator may be drawn from."""


def checked(task: object, whose: str) -> Task:
    """What a package gives as a task, if it is one.

    Args:
        task: anything.
        whose: it is, for the message.

    Raises:
        ConfigError: it lacks a member of `Task`.
    """
    if isinstance(task, Task):
        return task
    raise ConfigError(
        f"{whose}: expected {', '.join(_lacking(task, Task))}, which {type(task).__name__} lacks; "
        "repair the package (nowcast.core.training.task.Task says what they are)"
    )


def compared(task: Task, purpose: str) -> Compared:
    """The task, if it can be compared.

    Args:
        task: any.
        purpose: the command or option that needs it, for the message.

    Raises:
        ConfigError: it lacks a member of `Compared`.
    """
    if isinstance(task, Compared):
        return task
    raise _not_for(task, Compared, purpose)


def grouped(task: Task, purpose: str) -> Grouped:
    """The task, if its samples can be grouped; raises ConfigError as `compared` does."""
    if isinstance(task, Grouped):
        return task
    raise _not_for(task, Grouped, purpose)


def columns_of(task: Task) -> tuple[Column, ...]:
    """The scores that tables show: a task's columns, or else its objective."""
    if isinstance(task, Compared):
        return task.columns
    return tuple(Column(name, name, "less", 4, perfect=None) for name in task.objective)


def facts_of(task: Task, split: str) -> Mapping[str, Any]:
    """What a split is: a task's facts, or else its number of samples."""
    if isinstance(task, Compared):
        return task.facts(split)
    return {"samples": task.samples(split), "split": split}


def description_of(task: Task, split: str) -> str:
    """The same in a line, for people."""
    if isinstance(task, Compared):
        return task.describe(split)
    return f"{task.samples(split)} samples, {split} split"


def _lacking(task: object, protocol: type) -> list[str]:
    members = (*protocol.__annotations__, *vars(protocol))
    return [name for name in members if name[0] != "_" and not hasattr(task, name)]


def _not_for(task: Task, protocol: type, purpose: str) -> ConfigError:
    return ConfigError(
        f"{purpose}: expected a task with {', '.join(_lacking(task, protocol))}, which "
        f"{type(task).__name__} lacks; add them (nowcast.core.training.task.{protocol.__name__} "
        "says what they are), or do without this command: train, tune and evaluate need none of "
        "them"
    )
