"""The image task: Swin on a tree of labelled images, with MEmeL in its third stage."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from nowcast.core.errors import ConfigError, UnknownForecaster
from nowcast.core.memel.plug import middle_blocks
from nowcast.core.scoring.blocks import block_names, block_of
from nowcast.core.scoring.sums import Scores, Sums
from nowcast.core.storage.finite import check_answers
from nowcast.core.storage.origin import digest
from nowcast.core.system.distributed import Ranks
from nowcast.core.terminal.hints import did_you_mean
from nowcast.core.training.sampling import evaluation_plan
from nowcast.core.training.shared_memory import check_shared_memory
from nowcast.imagenet import scores, weights
from nowcast.imagenet.baseline import BASELINES, baseline
from nowcast.imagenet.data.batch import ImageBatch
from nowcast.imagenet.data.load import load, training_plan
from nowcast.imagenet.data.reader import EvaluationImages, TrainingImages
from nowcast.imagenet.data.splits import split_of
from nowcast.imagenet.data.tree import ImageFiles
from nowcast.imagenet.settings import ImagenetSettings
from nowcast.imagenet.transforms.augment import Augment


class ImagenetTask:
    """Implements `Compared` and `Grouped` of `nowcast.core.training.task` for labelled images.

    Args:
        settings: the whole config of a run.
        reuse: another task; if it reads the same images, their lists are shared.

    Raises:
        ConfigError: no images are named.
    """

    objective = (scores.ERROR,)
    loss_scale = None
    columns = scores.COLUMNS
    details = scores.DETAILS
    reference = "majority"
    features = ("by_class",)
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
        self._splits: dict[str, ImageFiles] = reuse._splits if reuse is not None and shared else {}

    def split(self, name: str) -> ImageFiles:
        """The images of a split."""
        if name not in self._splits:
            self._splits[name] = split_of(self.root, name, self.settings.data)
        return self._splits[name]

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
        if name not in BASELINES:
            raise UnknownForecaster(
                f"expected a run folder or a baseline, {', '.join(BASELINES)}, found {name!r}"
                f"{did_you_mean(name, BASELINES)}"
            )
        return baseline(name, self.split("train"), self.settings.data.size)

    def dry_run(self, model: nn.Module) -> object:
        """Pass one black image through a model."""
        size = self.settings.data.size
        device = next(model.parameters()).device
        return model(pixel_values=torch.zeros(1, 3, size, size, device=device))

    def epoch(self) -> int:
        """Images of the training split."""
        return len(self.split("train"))

    def samples(self, split: str) -> int:
        """Images of a split."""
        return len(self.split(split))

    def training_batches(self, start: int, ranks: Ranks) -> Iterator[ImageBatch]:
        """Batches of the training split, shuffled anew each time it is passed through."""
        train, files = self.settings.train, self.split("train")
        augment = Augment(self.settings.augment, self.settings.data.size, train.seed)
        plan = training_plan(train.seed, start, train.batch_size, len(files), ranks)
        size = max(1, train.batch_size // ranks.size)
        check_shared_memory(train.workers, self._bytes(size, targets=True), self._bytes(size))
        return load(TrainingImages(files, augment), plan, train.workers)

    def evaluation_batches(self, split: str, ranks: Ranks) -> Iterator[ImageBatch]:
        """Batches of the centres of a split's images, class by class."""
        train, files = self.settings.train, self.split(split)
        size = max(1, train.batch_size // ranks.size)
        check_shared_memory(train.workers, self._bytes(size))
        plan = evaluation_plan(len(files), size, ranks)
        return load(EvaluationImages(files, self.settings.data.size), plan, train.workers)

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

    verify = score

    def read(self, sums: Sums) -> Scores:
        """Top-1 and top-5 accuracy in percent."""
        return scores.read(sums)

    def read_columns(self, sums: Sums) -> Mapping[str, float | None]:
        """The same without what is beside them."""
        return scores.read_columns(sums)

    def blocks(self, split: str, batch: ImageBatch) -> list[str]:
        """The hundredth of the split, class by class, that each image lies in."""
        return block_of(batch.places.tolist(), len(self.split(split)))

    def block_names(self, split: str) -> list[str]:
        """All hundredths of a split, or fewer of one with fewer images."""
        return block_names(len(self.split(split)))

    def data_hash(self) -> str:
        """Of the files' names and sizes and of the pretrained Swin."""
        splits = [self.split(name).hash for name in ("train", "valid")]
        return digest([*splits, weights.weights_hash(self.settings.model.pretrained)])

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

    def groups(self, feature: str, batch: ImageBatch) -> list[str]:
        """The class of each image."""
        kinds: dict[str, Callable[[], list[str]]] = {
            "by_class": lambda: [self.classes[label] for label in batch.labels.tolist()]
        }
        if feature not in kinds:
            raise ConfigError(f"expected one of {', '.join(kinds)}, found {feature!r}")
        return kinds[feature]()


def _logits(model: nn.Module, batch: ImageBatch) -> Tensor:
    found: Tensor = model(pixel_values=batch.images).logits
    return found.float()
