"""The image task: Swin on a tree of labelled images, with MEmeL in its third stage."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from nowcast.core.errors import ConfigError
from nowcast.core.memel.plug import middle_blocks
from nowcast.core.scoring.sums import Scores, Sums
from nowcast.core.storage.finite import check_answers
from nowcast.core.storage.origin import digest
from nowcast.core.system.devices import uses_cuda
from nowcast.core.system.distributed import Ranks
from nowcast.core.system.shared_memory import check_shared_memory
from nowcast.core.training.listed import ListedTask, check_baseline
from nowcast.imagenet import scores, weights
from nowcast.imagenet.baseline import BASELINES, baseline
from nowcast.imagenet.data.batch import ImageBatch
from nowcast.imagenet.data.load import load, training_plan
from nowcast.imagenet.data.reader import EvaluationImages, TrainingImages
from nowcast.imagenet.data.splits import split_of
from nowcast.imagenet.data.tree import ImageFiles
from nowcast.imagenet.settings import ImagenetSettings
from nowcast.imagenet.transforms.augment import Augment


class ImagenetTask(ListedTask[ImageFiles]):
    """Implements `Compared` and `Grouped` of `nowcast.core.training.task` for labelled images.

    Args:
        settings: the whole config of a run.
        reuse: another task; if it reads the same images, their lists are shared.

    Raises:
        ConfigError: no images are named.
    """

    columns = scores.COLUMNS
    details = scores.DETAILS
    mask = None

    def __init__(self, settings: ImagenetSettings, reuse: "ImagenetTask | None" = None) -> None:
        self.settings = settings
        data, model = settings.data, settings.model
        if data.root is None:
            raise ConfigError(
                "data.root: expected the folder with train/CLASS/* and val/CLASS/*, found none; "
                "add data.root=FOLDER (`nowcast data images FOLDER` shows what is in it)"
            )
        self.root = data.root
        depth = weights.depth_of(model.pretrained, model.shape)
        self.sites = tuple(
            f"swin.encoder.layers.2.blocks.{block}" for block in middle_blocks(depth)
        )
        shared = reuse is not None and reuse.settings.data == data
        super().__init__(settings, reuse if shared else None)
        self.groupings = {
            "by_class": lambda batch: [self.classes[label] for label in batch.labels.tolist()],
            "by_brightness": _by_brightness,
            "by_source": _by_source,
        }

    def open_split(self, name: str) -> ImageFiles:
        """The images of a split."""
        return split_of(self.root, name, self.settings.data)

    def data_hash(self) -> str:
        """Of the files' names and sizes and of the pretrained Swin."""
        splits = (self.split(name).hash for name in ("train", "valid"))
        return digest([*splits, weights.weights_hash(self.settings.model.pretrained)])

    @property
    def classes(self) -> tuple[str, ...]:
        """Of the training split."""
        return self.split("train").classes

    def model(self) -> nn.Module:
        """A Swin as the settings say."""
        model, size = self.settings.model, self.settings.data.size
        return weights.classifier(
            model.pretrained,
            model.shape,
            size,
            len(self.classes),
            model.drop_path,
            model.head_map,
        )

    def baseline(self, name: str) -> nn.Module:
        """One of `baseline.BASELINES`; raises ConfigError for an unknown name."""
        check_baseline(name, BASELINES)
        return baseline(name, self.split("train"), self.settings.data.size)

    def dry_run(self, model: nn.Module) -> object:
        """Pass one black image through a model."""
        size = self.settings.data.size
        device = next(model.parameters()).device
        return model(pixel_values=torch.zeros(1, 3, size, size, device=device))

    def training_batches(self, start: int, ranks: Ranks) -> Iterator[ImageBatch]:
        """Batches of the training split, shuffled anew each time it is passed through."""
        train, files = self.settings.train, self.split("train")
        augment = Augment(self.settings.augment, self.settings.data.size, train.seed)
        plan = training_plan(train.seed, start, train.batch_size, len(files), ranks)
        size = self.share(ranks)
        check_shared_memory(train.workers, self._bytes(size, targets=True), self._bytes(size))
        pinned = uses_cuda(train.device)
        return load(TrainingImages(files, augment), plan, train.workers, pinned)

    def evaluation_batches(self, split: str, ranks: Ranks) -> Iterator[ImageBatch]:
        """Batches of the centres of a split's images, class by class."""
        workers, pinned = self.settings.train.workers, uses_cuda(self.settings.train.device)
        check_shared_memory(workers, self._bytes(self.share(ranks)))
        images = EvaluationImages(self.split(split), self.settings.data.size)
        return load(images, self.evaluation_plan(split, ranks), workers, pinned)

    def _bytes(self, count: int, targets: bool = False) -> int:
        """What the tensors of a batch take; see `ImageBatch`."""
        classes = len(self.classes) if targets else 0
        return count * (4 * 3 * self.settings.data.size**2 + 8 + 4 * classes)

    def loss(self, model: nn.Module, batch: ImageBatch) -> Tensor:
        """Cross-entropy with the mixed and smoothed targets, or with the classes."""
        wanted = batch.labels if batch.targets is None else batch.targets
        return functional.cross_entropy(_logits(model, batch), wanted)

    def score(self, model: nn.Module, batch: ImageBatch) -> Sums:
        """Counts of hits."""
        logits = _logits(model, batch)
        check_answers(logits, batch.files)
        return scores.sums_of(logits, batch.labels)

    def read(self, sums: Sums) -> Scores:
        """Top-1 and top-5 accuracy in percent."""
        return scores.read(sums)

    def read_columns(self, sums: Sums) -> Mapping[str, float | None]:
        """The same without what is beside them."""
        return scores.read_columns(sums)

    def facts(self, split: str) -> Mapping[str, Any]:
        """Which images of which tree."""
        files, model = self.split(split), self.settings.model
        return {
            "images": len(files),
            "data": self.root.name,
            "split": split,
            "classes": len(files.classes),
            "size": self.settings.data.size,
            "blocks": len(self.block_names(split)),
            "images_hash": files.hash,
            "root": str(self.root),
            "pretrained": model.pretrained or "none",
        }

    def describe(self, split: str) -> str:
        """How many images of how many classes."""
        facts = self.facts(split)
        return (
            f"{facts['images']} images of {facts['classes']} classes in {facts['data']}, {split} "
            f"split, {facts['size']}x{facts['size']} pixels"
        )


def _by_brightness(batch: ImageBatch) -> list[str]:
    """Whether an image is brighter than ImageNet's mean, which normalised pixels have at 0."""
    means = batch.images.mean((1, 2, 3)).tolist()
    return ["bright" if mean > 0 else "dark" for mean in means]


def _by_source(batch: ImageBatch) -> list[str]:
    """What a file's name begins with, up to the first digit, `_` or `-`: of names such as
    ``camera-012.png``, the camera."""
    return [re.split(r"[\d_.-]", Path(file).name)[0] or "unnamed" for file in batch.files]


def _logits(model: nn.Module, batch: ImageBatch) -> Tensor:
    logits: Tensor = model(pixel_values=batch.images).logits
    return logits.float()
