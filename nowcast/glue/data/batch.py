"""Tokenised examples of a batch, padded to one length."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class TextBatch:
    """What a BERT is trained and scored on.

    Args:
        tokens: ids of the vocabulary, 0 where padded.
        kinds: 0 for the first sentence, 1 for the second.
        present: True where there is a token, False where padded.
        labels: class, or score of a regression; None where they are hidden.
        groups: which of the split's files an example is of, e.g. 1 for MNLI's mismatched.
        places: in the split.
        of: how many examples the split has.
        rows: part of the data set and row of it (from 0), for messages.
    """

    tokens: Int[Tensor, "batch length"]
    kinds: Int[Tensor, "batch length"]
    present: Bool[Tensor, "batch length"]
    labels: Int[Tensor, " batch"] | Float[Tensor, " batch"] | None
    groups: NDArray[np.int64]
    places: NDArray[np.int64]
    of: int
    rows: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.places)

    def inputs(self) -> dict[str, Tensor]:
        """As a BERT of transformers takes them."""
        return {
            "input_ids": self.tokens,
            "attention_mask": self.present.long(),
            "token_type_ids": self.kinds,
        }

    def to(self, device: torch.device) -> "TextBatch":
        """The batch on a device."""
        if device == self.tokens.device:
            return self
        return replace(
            self,
            tokens=self.tokens.to(device, non_blocking=True),
            kinds=self.kinds.to(device, non_blocking=True),
            present=self.present.to(device, non_blocking=True),
            labels=None if self.labels is None else self.labels.to(device, non_blocking=True),
        )

    def names(self) -> list[str]:
        """Part of the data set and row of each example."""
        return list(self.rows)

    def take(self, which: NDArray[np.int64]) -> "TextBatch":
        """The examples at these positions of the batch."""
        rows = torch.as_tensor(which, device=self.tokens.device)
        return replace(
            self,
            tokens=self.tokens[rows],
            kinds=self.kinds[rows],
            present=self.present[rows],
            labels=None if self.labels is None else self.labels[rows],
            groups=self.groups[which],
            places=self.places[which],
            rows=tuple(self.rows[row] for row in which),
        )
