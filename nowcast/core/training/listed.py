"""What tasks share whose splits are lists of samples without times, e.g. the rows of a file."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sized
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nowcast.core.errors import ConfigError, UnknownForecaster, did_you_mean
from nowcast.core.scoring.blocks import block_names, block_of
from nowcast.core.scoring.sums import Sums
from nowcast.core.settings import RunSettings
from nowcast.core.system.distributed import Ranks
from nowcast.core.training.sampling import evaluation_plan

Split = TypeVar("Split", bound=Sized)


class ListedTask(ABC, Generic[Split]):
    """Part of a task: its splits, their blocks, and ways to group samples.

    Args:
        settings: the whole config of a run.
        reuse: another task that reads the same data, whose open splits are shared; None: none.
    """

    objective: tuple[str, ...] = ("error",)
    loss_scale: float | None = None
    reference = "majority"
    groupings: Mapping[str, Callable[[Any], list[str]]]
    """Feature -> the group of each sample of a batch."""

    def __init__(self, settings: RunSettings, reuse: "ListedTask[Split] | None") -> None:
        self._batch_size = settings.train.batch_size
        self._splits: dict[str, Split] = {} if reuse is None else reuse._splits

    @abstractmethod
    def open_split(self, name: str) -> Split:
        """Read a split; raises ConfigError where there is none of this name."""

    @abstractmethod
    def score(self, model: nn.Module, batch: Any) -> Sums:
        """The sums of a batch."""

    def split(self, name: str) -> Split:
        """The samples of a split, read once."""
        if name not in self._splits:
            self._splits[name] = self.open_split(name)
        return self._splits[name]

    def epoch(self) -> int:
        """Samples of the training split."""
        return len(self.split("train"))

    def samples(self, split: str) -> int:
        """Samples of a split."""
        return len(self.split(split))

    def evaluation_plan(self, split: str, ranks: Ranks) -> Iterator[NDArray[np.int64]]:
        """This rank's samples of a split, in order and in batches."""
        return evaluation_plan(self.samples(split), self.share(ranks), ranks)

    def share(self, ranks: Ranks) -> int:
        """Samples of a batch that each rank has."""
        return max(1, self._batch_size // ranks.size)

    def verify(self, model: nn.Module, batch: Any) -> Sums:
        """As `score`: there is no more to measure."""
        return self.score(model, batch)

    def blocks(self, split: str, batch: Any) -> list[str]:
        """The hundredth of the split that each sample lies in; see `scoring.blocks`."""
        return block_of(batch.places.tolist(), self.samples(split))

    def block_names(self, split: str) -> list[str]:
        """All hundredths of a split, or one for each sample of a smaller one."""
        return block_names(self.samples(split))

    @property
    def features(self) -> tuple[str, ...]:
        """Ways in which samples can be grouped."""
        return tuple(self.groupings)

    def groups(self, feature: str, batch: Any) -> list[str]:
        """The group of each sample; raises ConfigError for an unknown feature."""
        if feature not in self.groupings:
            raise ConfigError(f"expected one of {', '.join(self.features)}, found {feature!r}")
        return self.groupings[feature](batch)


def check_baseline(name: str, baselines: Collection[str]) -> None:
    """Raise UnknownForecaster unless a baseline is one of these."""
    if name not in baselines:
        raise UnknownForecaster(
            f"expected a run folder or a baseline, {', '.join(baselines)}, found {name!r}"
            f"{did_you_mean(name, baselines)}"
        )


def logits_of_shares(labels: NDArray[np.int64], classes: int) -> Tensor:
    """Logits whose softmax are the shares of the classes, of the training split: the majority."""
    counts = np.bincount(labels, minlength=classes)
    return torch.log(torch.from_numpy((counts + 1e-9) / counts.sum()).float())
