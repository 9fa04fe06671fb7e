"""Which examples are trained on, validated on, tested on, and predicted for the leaderboard."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from nowcast.core.errors import ConfigError
from nowcast.core.storage.origin import digest
from nowcast.core.training.sampling import held_out
from nowcast.glue.benchmark import DataSet, Part
from nowcast.glue.data.batch import TextBatch
from nowcast.glue.data.tokens import Tokens, tokenised
from nowcast.glue.settings import DataSettings

SPLITS = ("train", "valid", "test", "submission")


@dataclass(frozen=True)
class Split:
    """Examples in order, of one or several files.

    Args:
        name: of `SPLITS`.
        files: the parts that they come from, e.g. MNLI's two dev files.
        rows: of each file, which rows they are.
    """

    name: str
    files: Sequence[Tokens]
    rows: Sequence[NDArray[np.int64]]

    def __len__(self) -> int:
        return sum(map(len, self.rows))

    @cached_property
    def hash(self) -> str:
        """Of the examples."""
        return digest([[file.hash, rows.tolist()] for file, rows in self._pairs()])

    @property
    def left_out(self) -> int:
        """Rows of the files that hold no example."""
        return sum(file.left_out for file in self.files)

    def labels(self) -> NDArray[np.int64] | NDArray[np.float64]:
        """Class or score of each example; raises ConfigError where they are hidden."""
        found = [file.labels[rows] for file, rows in self._pairs() if file.labels is not None]
        if len(found) < len(self.files):
            raise ConfigError(f"the {self.name} split of this data set has no labels")
        joined: NDArray[np.int64] | NDArray[np.float64] = np.concatenate(found)  # type: ignore[assignment]
        return joined

    def batch(self, places: NDArray[np.int64], length: int | None = None) -> TextBatch:
        """The examples at these positions of the split.

        Args:
            places: which.
            length: to pad to; None takes the longest of them.
        """
        starts = np.cumsum([0, *map(len, self.rows)])
        groups = np.searchsorted(starts, places, side="right") - 1
        found = [
            self.files[group].example(int(self.rows[group][place - starts[group]]))
            for group, place in zip(groups, places, strict=True)
        ]
        columns = length or max(len(example.tokens) for example in found)
        tokens = np.zeros((len(found), columns), dtype=np.int64)
        kinds, present = np.zeros_like(tokens), np.zeros(tokens.shape, dtype=bool)
        for row, example in enumerate(found):
            count = len(example.tokens)
            tokens[row, :count], kinds[row, :count] = example.tokens, example.kinds
            present[row, :count] = True
        labels = [example.label for example in found]
        return TextBatch(
            tokens=torch.from_numpy(tokens),
            kinds=torch.from_numpy(kinds),
            present=torch.from_numpy(present),
            labels=None if None in labels else torch.tensor(labels),
            groups=groups.astype(np.int64),
            places=np.asarray(places, dtype=np.int64),
            of=len(self),
            rows=tuple(example.name for example in found),
        )

    def _pairs(self) -> list[tuple[Tokens, NDArray[np.int64]]]:
        return list(zip(self.files, self.rows, strict=True))


def split_of(root: Path, data_set: DataSet, name: str, bert: Path, data: DataSettings) -> Split:
    """A split as the settings make it; see `DataSettings.held_out`.

    Raises:
        ConfigError: there is no such split.
        DataError: a file is not as GLUE distributes it.
    """

    def whole(parts: Sequence[Part]) -> Split:
        files = [
            tokenised(root, data_set, part, bert, data.max_length, data.cache) for part in parts
        ]
        return Split(name, files, [np.arange(len(file)) for file in files])

    if name not in SPLITS:
        raise ConfigError(f"split: expected one of {', '.join(SPLITS)}, found {name!r}")
    if name == "submission":
        return whole(data_set.parts_of("test"))
    if name == "test" and not data.held_out:
        raise ConfigError(
            f"split: the labels of {data_set.title}'s test file are known to GLUE's leaderboard "
            "alone. Take the split valid, which is its dev file; or keep part of the training file "
            "for validation (data.held_out=0.1), then test is the dev file; or `nowcast submit`"
        )
    if name == "test" or (name == "valid" and not data.held_out):
        return whole(data_set.parts_of("dev"))
    train = whole(["train"])
    if not data.held_out:
        return train
    kept, held = held_out(data.held_out, len(train))
    if not (len(kept) and len(held)):
        raise ConfigError(
            f"data.held_out: {data.held_out:g} of {len(train)} examples leaves none for "
            f"{'training' if len(held) else 'validation'}"
        )
    return Split(name, train.files, [held if name == "valid" else kept])
