"""Batches of a split's images, decoded on demand; a file that cannot be read stops nothing."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from numpy.typing import NDArray
from torch.utils.data import Dataset

from nowcast.core.errors import DataError
from nowcast.imagenet.data.batch import ImageBatch
from nowcast.imagenet.data.tree import ImageFiles
from nowcast.imagenet.data.unreadable import Unreadable
from nowcast.imagenet.transforms.augment import Augment, evaluated
from nowcast.imagenet.transforms.decode import read_image
from nowcast.imagenet.transforms.mix import draw_mix, partner, soft_targets


@dataclass(frozen=True)
class Share:
    """A rank's share of a training batch.

    Args:
        step: of training.
        items: images of the whole batch, of all ranks.
        places: those places in the batch that are the rank's.
    """

    step: int
    items: NDArray[np.int64]
    places: NDArray[np.int64]


@dataclass(frozen=True)
class _Read:
    """An image that could be read in another's place, or its own."""

    item: int
    pixels: Float32[np.ndarray, "3 size size"]
    unreadable: tuple[Unreadable, ...]


class TrainingImages(Dataset[ImageBatch]):
    """The images of a split, augmented and mixed.

    Args:
        files: of the split.
        augment: what is done to each image; its settings say how images are mixed.
    """

    def __init__(self, files: ImageFiles, augment: Augment) -> None:
        self.files = files
        self.augment = augment

    def __getitem__(self, share: Share) -> ImageBatch:
        """Read a share of a batch. The next image of its class stands in for one that cannot be
        read.

        Raises:
            DataError: no image of a class can be read.
        """
        settings, size, seed = self.augment.settings, self.augment.size, self.augment.seed
        mix = draw_mix(settings, seed, share.step, size)
        read: dict[int, _Read] = {}
        places = share.places.tolist()
        mirrored = [partner(place, len(share.items)) for place in places]
        for place in places + (mirrored if mix is not None else []):
            if place not in read:
                read[place] = self._read(int(share.items[place]), share.step, place)
        images, labels, items = self._stacked([read[place] for place in places])
        targets = soft_targets(labels, len(self.files.classes), settings.label_smoothing)
        if mix is not None:
            others, other_labels, _ = self._stacked([read[place] for place in mirrored])
            smoothed = soft_targets(other_labels, len(self.files.classes), settings.label_smoothing)
            images, targets = mix.images(images, others), mix.targets(targets, smoothed)
        return ImageBatch(
            images=images,
            labels=labels,
            targets=targets,
            places=items,
            of=len(self.files),
            files=tuple(self.files.file(item) for item in items.tolist()),
            unreadable=tuple(found for one in read.values() for found in one.unreadable),
        )

    def _read(self, item: int, step: int, place: int) -> _Read:
        unreadable: list[Unreadable] = []
        for candidate in _of_same_class(self.files, item):
            image = _try(self.files, candidate)
            if not isinstance(image, Unreadable):
                return _Read(candidate, self.augment(image, step, place), tuple(unreadable))
            unreadable.append(image)
        raise DataError(
            f"{self.files.path(item).parent}: expected an image that can be read, found "
            f"{len(unreadable)} that cannot ({unreadable[0].reason})"
        )

    def _stacked(self, read: list[_Read]) -> tuple[torch.Tensor, torch.Tensor, NDArray[np.int64]]:
        """Images, labels and items."""
        items = np.array([one.item for one in read], dtype=np.int64)
        images = torch.from_numpy(np.stack([one.pixels for one in read]))
        return images, torch.from_numpy(self.files.labels[items]), items


class EvaluationImages(Dataset[ImageBatch]):
    """The images of a split, cut out at their centre.

    Args:
        files: of the split.
        size: rows and columns of an image, pixels.
    """

    def __init__(self, files: ImageFiles, size: int) -> None:
        self.files = files
        self.size = size

    def __getitem__(self, items: NDArray[np.int64]) -> ImageBatch:
        """Read these images, those left out that cannot be read; there may be none."""
        images = torch.empty(len(items), 3, self.size, self.size)
        kept: list[int] = []
        unreadable: list[Unreadable] = []
        for item in items.tolist():
            image = _try(self.files, item)
            if isinstance(image, Unreadable):
                unreadable.append(image)
                continue
            images[len(kept)] = torch.from_numpy(evaluated(image, self.size))
            kept.append(item)
        places = np.array(kept, dtype=np.int64)
        return ImageBatch(
            images=images[: len(kept)],
            labels=torch.from_numpy(self.files.labels[places]),
            targets=None,
            places=places,
            of=len(self.files),
            files=tuple(self.files.file(item) for item in kept),
            unreadable=tuple(unreadable),
        )


def _try(files: ImageFiles, item: int) -> UInt8[np.ndarray, "height width 3"] | Unreadable:
    try:
        return read_image(files.path(item))
    except DataError as error:
        return Unreadable(files.file(item), str(error))


def _of_same_class(files: ImageFiles, item: int) -> Iterator[int]:
    """The item, then those of its class that follow it, from the first again after the last."""
    yield item
    same = np.flatnonzero(files.labels == files.labels[item])
    yield from np.roll(same, -int(np.searchsorted(same, item))).tolist()[1:]
