"""Which images are in which batch, and their batches, read ahead by worker processes."""

import warnings
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from nowcast.core.system.distributed import Ranks
from nowcast.core.training.sampling import passes
from nowcast.imagenet.data.batch import ImageBatch
from nowcast.imagenet.data.reader import EvaluationImages, Share, TrainingImages
from nowcast.imagenet.transforms.mix import places_of


def training_plan(
    seed: int, start: int, batch_size: int, images: int, ranks: Ranks
) -> Iterator[Share]:
    """A rank's share of the batches from step `start` on, without end; see `passes`."""
    places = places_of(batch_size, ranks)
    step = start
    while True:
        yield Share(step, passes(seed, step, batch_size, images), places)
        step += 1


def load(
    images: TrainingImages | EvaluationImages,
    plan: Iterable[Share] | Iterable[NDArray[np.int64]],
    workers: int,
    pinned: bool = False,
) -> Iterator[ImageBatch]:
    """Batches as planned, read by this process (0) or so many workers ahead of it, for a GPU into
    pinned memory.

    Each file that cannot be read is named in a warning, once. A batch of which nothing can be read
    is left out.
    """
    loader: DataLoader[ImageBatch] = DataLoader(
        images,
        batch_size=None,  # the plan gives whole batches
        sampler=plan,
        num_workers=workers,
        collate_fn=_as_it_is,  # type: ignore[arg-type]
        pin_memory=pinned,
    )
    named: set[str] = set()
    for batch in loader:
        for found in batch.unreadable:
            if found.file not in named:
                named.add(found.file)
                warnings.warn(_warning(images, found.reason), stacklevel=2)
        if len(batch):
            yield batch


def _warning(images: TrainingImages | EvaluationImages, reason: str) -> str:
    done = (
        "another of its class stands in for it"
        if isinstance(images, TrainingImages)
        else "it is left out of the scores"
    )
    return f"{reason} ({done}; `nowcast data images {images.files.root}` lists all such files)"


def _as_it_is(batch: ImageBatch) -> ImageBatch:
    """Images come as a batch already."""
    return batch
