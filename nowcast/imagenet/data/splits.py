"""Which images are trained on, validated on and tested on."""

from dataclasses import replace
from pathlib import Path

from nowcast.core.errors import ConfigError
from nowcast.core.training.sampling import held_out
from nowcast.imagenet.data.tree import ImageFiles, list_images
from nowcast.imagenet.data.unreadable import read_unreadable
from nowcast.imagenet.settings import DataSettings


def split_of(root: Path, name: str, data: DataSettings) -> ImageFiles:
    """A split as the settings make it; see `DataSettings.held_out`.

    Raises:
        ConfigError: there is no such split, or nothing is left of it.
        DataError: no images, or not of the training classes.
    """
    left_out = frozenset() if data.unreadable is None else read_unreadable(data.unreadable)

    def listed(split: str) -> ImageFiles:
        return list_images(root, split, data.val_labels, left_out)

    if not data.held_out:
        return listed(name)
    if name == "test":
        return replace(listed("valid"), split="test")
    if name not in ("train", "valid"):
        raise ConfigError(f"split: expected one of train, valid, test, found {name!r}")
    files = listed("train")
    kept, held = held_out(data.held_out, len(files))
    rows = held if name == "valid" else kept
    found = replace(files, split=name, files=files.files[rows], labels=files.labels[rows])
    if not len(found) or (name == "train" and found.without_images()):
        raise ConfigError(
            f"data.held_out: {data.held_out:g} of {len(files)} images leaves the {name} split "
            "without images, or without some of a class; take another share"
        )
    return found
