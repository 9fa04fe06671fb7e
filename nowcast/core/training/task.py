"""The seam between the loop and a task: all that the core may know of rain, words or pictures."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nowcast.core.memel.masks import FindMask
from nowcast.core.report.player import Reel
from nowcast.core.scoring.sums import Scores, Sums
from nowcast.core.scoring.table import Column
from nowcast.core.system.distributed import Ranks

if TYPE_CHECKING:
    from nowcast.core.comparison.board import Board


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
        """The samples at these places."""
        ...


@runtime_checkable
class Task(Protocol):
    """Model, data, loss and scores of one task, built from its settings."""

    sites: tuple[str, ...]
    """Where MEmeL sits unless the config says otherwise: socket names or patterns."""
    columns: tuple[Column, ...]
    """The scores that tables show."""
    details: tuple[Column, ...]
    """Further scores, of `verify`, that leaderboards show."""
    reference: str
    """The baseline whose scores others are set against."""
    objective: tuple[str, ...]
    """The scores whose sum on the validation split says which weights are best; least is best."""

    loss_scale: float | None
    """The training loss per unit of that sum, to draw both in one chart; None where it is no
    multiple of it."""

    features: tuple[str, ...]
    """Ways in which samples can be grouped, for `groups`."""

    mask: FindMask | None
    """Which parts of a model's input are there, for MEmeL (see `plug_in`); None: all always are."""

    def model(self) -> nn.Module:
        """A fresh model; its initial weights come from torch's global generator."""
        ...

    def baseline(self, name: str) -> nn.Module:
        """A forecaster that needs no training; raises ConfigError for an unknown name."""
        ...

    def dry_run(self, model: nn.Module) -> object:
        """Pass one sample through a model, to read the shapes inside it."""
        ...

    def epoch(self) -> int:
        """How many training samples one pass over them has."""
        ...

    def samples(self, split: str) -> int:
        """How many samples a split has when it is scored."""
        ...

    def training_batches(self, start: int, ranks: Ranks) -> Iterator[Any]:
        """This rank's share of the training batches, without end, from step `start` on."""
        ...

    def evaluation_batches(self, split: str, ranks: Ranks) -> Iterator[Any]:
        """This rank's share of a split, each sample once."""
        ...

    def loss(self, model: nn.Module, batch: Any) -> Tensor:
        """The training loss of a batch, a mean over its samples."""
        ...

    def score(self, model: nn.Module, batch: Any) -> Sums:
        """The sums of a batch, which merge to those of a data set."""
        ...

    def verify(self, model: nn.Module, batch: Any) -> Sums:
        """As `score`, and whatever else can be measured: for tables, too slow for training."""
        ...

    def read(self, sums: Sums) -> Scores:
        """What the sums of `score` or `verify` say."""
        ...

    def read_columns(self, sums: Sums) -> Mapping[str, float | None]:
        """The scores of `columns` alone, which a bootstrap reads thousands of times."""
        ...

    def blocks(self, split: str, batch: Any) -> list[str]:
        """The block of each sample. Samples of one block are not independent, e.g. clips of one
        storm; blocks are what is resampled for an interval."""
        ...

    def block_names(self, split: str) -> list[str]:
        """All blocks of a split, in order."""
        ...

    def data_hash(self) -> str:
        """A hash of the samples: another where any split would give others."""
        ...

    def facts(self, split: str) -> Mapping[str, Any]:
        """What a split is and how it was cut, for reports and JSON: ``clips`` or the like first,
        ``data`` the name of the data."""
        ...

    def describe(self, split: str) -> str:
        """The same in a line, for people."""
        ...

    def pictures(self, model: nn.Module, split: str) -> Mapping[str, NDArray[np.uint8]]:
        """A few results as RGB images ``height width 3``, by caption."""
        ...

    def reels(self, models: Mapping[str, nn.Module], split: str) -> Sequence[Reel]:
        """A few results of several models beside the truth, for the player of a comparison's page;
        empty: there is nothing to look at."""
        ...

    def gallery(
        self, board: "Board", models: Mapping[str, nn.Module], split: str, out: Path
    ) -> Mapping[str, Path]:
        """Pictures of a leaderboard, written into a folder: caption -> PNG or GIF file."""
        ...

    def groups(self, feature: str, batch: Any) -> list[str]:
        """The group of each sample; raises ConfigError for an unknown feature."""
        ...


@runtime_checkable
class StatesItsData(Protocol):
    """A task that says what its training data are, for the run's folder to keep."""

    def trained_on(self) -> Mapping[str, Any]:
        """What a run of it has seen, as JSON holds it."""
        ...


class WithoutPictures:
    """What a task does whose results are told by scores alone."""

    def pictures(self, model: nn.Module, split: str) -> Mapping[str, NDArray[np.uint8]]:
        """None."""
        return {}

    def reels(self, models: Mapping[str, nn.Module], split: str) -> Sequence[Reel]:
        """None."""
        return ()

    def gallery(
        self, board: "Board", models: Mapping[str, nn.Module], split: str, out: Path
    ) -> Mapping[str, Path]:
        """None."""
        return {}
