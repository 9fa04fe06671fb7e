"""An evaluation in parts: every part scores its share of the samples, and sums add up."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Protocol, runtime_checkable

from torch import nn

from nowcast.core.comparison.contest import Parts, measured, with_reference
from nowcast.core.execution.executor import Executor, Place, carry_out
from nowcast.core.scoring.sums import Sums
from nowcast.core.settings import RunSettings
from nowcast.core.system.devices import pick_device
from nowcast.core.system.distributed import Ranks
from nowcast.core.terminal.progress import line
from nowcast.core.training.evaluate import summed
from nowcast.core.training.task import Task, compared

WHOLE = ""  # the block of a sum over all samples


@runtime_checkable
class Scored(Protocol):
    """A forecaster with its data."""

    @property
    def settings(self) -> RunSettings:
        """Of it."""
        ...

    @property
    def task(self) -> Task:
        """With the data."""
        ...

    @property
    def model(self) -> nn.Module:
        """The forecaster."""
        ...


@dataclass(frozen=True)
class Found:
    """What a part, or all of them, came to.

    Args:
        sums: forecaster -> block -> sums.
        replaced: forecaster -> how many of its clips were forecast by another method.
    """

    sums: Parts
    replaced: Mapping[str, int]

    def __add__(self, other: "Found") -> "Found":
        sums = {
            name: {block: one + other.sums[name][block] for block, one in blocks.items()}
            for name, blocks in self.sums.items()
        }
        replaced = {name: n + other.replaced[name] for name, n in self.replaced.items()}
        return Found(sums, replaced)


@dataclass(frozen=True)
class Part:
    """The `Work` of scoring every so many samples of a split.

    Args:
        open_entries: the forecasters by name.
        split: of their data.
        rank: which of the parts.
        size: how many there are.
        full: every score, block by block, of the reference too; else those of training alone.
    """

    open_entries: Callable[[], Mapping[str, Scored]]
    split: str
    rank: int
    size: int
    full: bool

    @property
    def title(self) -> str:
        """See `Work`."""
        return f"part {self.rank + 1} of {self.size} of the {self.split} split"

    def is_ready(self) -> bool:
        """See `Work`."""
        return True

    def do(self, place: Place) -> Found:
        """See `Work`."""
        entries = self.open_entries()
        ranks = Ranks(self.rank, self.size, place.ranks.local)
        first = next(iter(entries.values()))
        device = pick_device(first.settings.train.device, ranks)
        sums: Parts
        if self.full:
            models = {
                name: (compared(entry.task, "--out"), entry.model.to(device))
                for name, entry in entries.items()
            }
            sums = measured(with_reference(models, self.split, device), self.split, ranks, device)
        else:
            sums = {
                name: {WHOLE: summed(entry.task, entry.model.to(device), self.split, ranks, device)}
                for name, entry in entries.items()
            }
        counts = {name: getattr(entry.model, "replaced", 0) for name, entry in entries.items()}
        return Found(sums, counts)


def in_parts(
    open_entries: Callable[[], Mapping[str, Scored]],
    split: str,
    samples: int,
    full: bool,
    executor: Executor,
    parts: int,
) -> Found:
    """Score forecasters in parts; their sums are added in the order of the parts, so that the
    result is the same whatever does them.

    Args:
        open_entries: gives the forecasters, in any process.
        split: of their data.
        samples: that it has.
        full: see `Part`.
        executor: does the parts.
        parts: how many, or as many as there are samples.

    Raises:
        RunError: a part failed.
    """
    count = max(1, min(parts, samples))
    works: Sequence[Part] = [Part(open_entries, split, n, count, full) for n in range(count)]
    with line(f"scoring on {split}", count, unit="parts") as scoring:
        found = carry_out(works, executor, lambda done: scoring.set(done, count))
    total: Found = reduce(add, found)
    return total


def whole(found: Found, name: str) -> Sums:
    """The sums of a forecaster over all samples, of parts that were not `full`."""
    return found.sums[name][WHOLE]
