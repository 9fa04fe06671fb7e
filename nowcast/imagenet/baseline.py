"""What needs no training by steps: the commonest class, and a linear classifier of pixels."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from nowcast.core.training.listed import logits_of_shares
from nowcast.imagenet.data.tree import ImageFiles
from nowcast.imagenet.transforms.augment import evaluated
from nowcast.imagenet.transforms.decode import read_image

if TYPE_CHECKING:
    from transformers.modeling_outputs import ImageClassifierOutput

BASELINES = ("majority", "linear")
SIDE = 28  # pixels that the linear classifier sees
MOST = 20_000  # images that it is fitted to
PENALTY = 0.01  # inverse strength: about the best on validation digits, of 1e-4 to 1


class Linear(nn.Module):
    """Logits that are a linear function of the pixels.

    Args:
        weight: ``classes 3*side*side``; zero for the commonest class whatever the picture.
        bias: ``classes``.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.register_buffer("weight", weight)
        self.register_buffer("bias", bias)

    def forward(self, pixel_values: Tensor) -> "ImageClassifierOutput":
        """The logits of ``batch 3 height width``."""
        from transformers.modeling_outputs import ImageClassifierOutput

        return ImageClassifierOutput(logits=_seen(pixel_values) @ self.weight.T + self.bias)


def baseline(name: str, files: ImageFiles, size: int) -> nn.Module:
    """One of `BASELINES`, fitted to a training split.

    `linear` is scikit-learn's logistic regression on the images as evaluation cuts them, averaged
    down to 28 pixels a side where they are larger.
    """
    classes = len(files.classes)
    weight = torch.zeros(classes, 3 * min(size, SIDE) ** 2)
    if name == "majority":
        return Linear(weight, logits_of_shares(files.labels, classes))
    from sklearn.linear_model import LogisticRegression

    rows = np.random.default_rng(0).permutation(len(files))[:MOST]
    images = torch.stack(
        [torch.from_numpy(evaluated(read_image(files.path(int(row))), size)) for row in rows]
    )
    fitted = LogisticRegression(C=PENALTY, max_iter=1000).fit(
        _seen(images).numpy(), files.labels[rows]
    )
    bias = torch.full((classes,), -1e9)
    known = torch.from_numpy(fitted.classes_)
    found, offset = torch.from_numpy(fitted.coef_), torch.from_numpy(fitted.intercept_)
    if len(known) == 2:  # scikit-learn has one row for both
        found, offset = torch.cat((-found, found)) / 2, torch.cat((-offset, offset)) / 2
    weight[known], bias[known] = found.float(), offset.float()
    return Linear(weight, bias)


def _seen(images: Tensor) -> Tensor:
    """``batch 3 height width`` as ``batch pixels``, at most `SIDE` a side."""
    if images.shape[-1] > SIDE:
        images = nn.functional.adaptive_avg_pool2d(images, SIDE)
    return images.flatten(1)
