"""Images of a batch, as a model takes them, with their classes."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from nowcast.imagenet.data.unreadable import Unreadable


@dataclass(frozen=True)
class ImageBatch:
    """What an image model is trained and scored on.

    Args:
        images: normalised, see `pixels.normalised`.
        labels: class of each; in training of the image itself, whatever it is mixed with.
        targets: share of each class, mixed and smoothed, for the training loss; None in evaluation.
        places: in the split.
        of: how many images the split has.
        files: path of each from the tree's root, for messages.
        unreadable: files that were to be in the batch and could not be read.
    """

    images: Float[Tensor, "batch 3 height width"]
    labels: Int[Tensor, " batch"]
    targets: Float[Tensor, "batch classes"] | None
    places: NDArray[np.int64]
    of: int
    files: tuple[str, ...]
    unreadable: tuple[Unreadable, ...] = ()

    def __len__(self) -> int:
        return len(self.places)

    def to(self, device: torch.device) -> "ImageBatch":
        """The batch on a device."""
        return replace(
            self,
            images=self.images.to(device, non_blocking=True),
            labels=self.labels.to(device, non_blocking=True),
            targets=None if self.targets is None else self.targets.to(device, non_blocking=True),
        )

    def pin_memory(self) -> "ImageBatch":
        """In memory that a GPU copies from while it computes; `DataLoader` calls it."""
        return replace(
            self,
            images=self.images.pin_memory(),
            labels=self.labels.pin_memory(),
            targets=None if self.targets is None else self.targets.pin_memory(),
        )

    def names(self) -> list[str]:
        """Path of each image from the tree's root."""
        return list(self.files)

    def take(self, which: NDArray[np.int64]) -> "ImageBatch":
        """The images at these positions of the batch."""
        rows = torch.as_tensor(which, device=self.images.device)
        return replace(
            self,
            images=self.images[rows],
            labels=self.labels[rows],
            targets=None if self.targets is None else self.targets[rows],
            places=self.places[which],
            files=tuple(self.files[row] for row in which),
        )
