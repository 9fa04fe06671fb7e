"""What needs no training: the commonest answer."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nowcast.core.training.listed import logits_of_shares

if TYPE_CHECKING:
    from transformers.modeling_outputs import SequenceClassifierOutput


class Majority(nn.Module):
    """Answers every example with the commonest class, or with the mean score.

    Args:
        labels: of the training split: classes, or scores of a regression.
        outputs: classes, or 1 of a regression.
    """

    answer: Tensor

    def __init__(self, labels: NDArray[np.int64] | NDArray[np.float64], outputs: int) -> None:
        super().__init__()
        if outputs == 1:
            answer = torch.tensor([float(labels.mean())])
        else:
            answer = logits_of_shares(labels.astype(np.int64), outputs)
        self.register_buffer("answer", answer)

    def forward(self, input_ids: Tensor, **_: Tensor) -> "SequenceClassifierOutput":
        """The same logits for every one of ``batch length`` tokens."""
        from transformers.modeling_outputs import SequenceClassifierOutput

        return SequenceClassifierOutput(logits=self.answer.expand(len(input_ids), -1))
