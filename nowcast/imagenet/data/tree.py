"""Which image files a split has, and their classes: a tree of class folders, as ImageNet's."""

import hashlib
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Int64, Shaped
from numpy.typing import NDArray

from nowcast.core.errors import ConfigError, DataError
from nowcast.imagenet.data.ground_truth import KNOWN, find_truth, read_truth

FOLDERS = {"train": ("train",), "valid": ("val", "valid", "validation"), "test": ("test",)}
EXTENSIONS = frozenset({b".jpeg", b".jpg", b".png", b".bmp", b".webp", b".tif", b".tiff"})
SHOWN = 5  # names in a message


@dataclass(frozen=True)
class ImageFiles:
    """The labelled image files of a split.

    Args:
        root: of the tree.
        split: ``train``, ``valid`` or ``test``.
        files: path of each from the root, as bytes: a million in one array. In the order of
            classes, then of names.
        labels: class of each.
        classes: all classes, sorted; those of the training split.
    """

    root: Path
    split: str
    files: Shaped[np.ndarray, " image"]
    labels: Int64[np.ndarray, " image"]
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.files)

    def file(self, number: int) -> str:
        """Path of an image from the root, for messages and lists."""
        return os.fsdecode(self.files[number])

    def path(self, number: int) -> Path:
        """Path of an image."""
        return self.root / self.file(number)

    @cached_property
    def hash(self) -> str:
        """Of classes, names, labels and sizes of the files. What is in them is not read: all of
        ImageNet would take an hour, so an image replaced by another of the same size goes
        unnoticed."""
        found = hashlib.sha256("\0".join(self.classes).encode("utf-8", "surrogateescape"))
        root = os.fsencode(self.root)
        for file, label in zip(self.files.tolist(), self.labels.tolist(), strict=True):
            size = os.stat(os.path.join(root, file)).st_size  # noqa: PTH116, PTH118  a million
            found.update(b"%b\0%d\0%d\0" % (file, label, size))
        return found.hexdigest()[:16]

    def without_images(self) -> list[str]:
        """Classes that no image of this split has."""
        counts = np.bincount(self.labels, minlength=len(self.classes))
        return [self.classes[number] for number in np.flatnonzero(counts == 0)]


def list_images(
    root: Path,
    split: str,
    val_labels: Path | None = None,
    left_out: frozenset[str] = frozenset(),
) -> ImageFiles:
    """List the images of a split. Files are not opened; hidden ones and other kinds are ignored.

    Args:
        root: folder with ``train/CLASS/*`` and ``val/CLASS/*``, or ``val/*`` and a file of classes.
        split: ``train``, ``valid`` or ``test``.
        val_labels: file of classes of a validation folder without class folders; None looks for
            one of a known name in the root and in the folder. That of a test folder is in it.
        left_out: paths from the root of files to leave out.

    Raises:
        ConfigError: there is no such split or folder.
        DataError: no images, a class of training without any, or a class that training has not.
    """
    if split not in FOLDERS:
        raise ConfigError(f"split: expected one of {', '.join(FOLDERS)}, found {split!r}")
    classes = _classes(root)
    folder = folder_of(root, split)
    if split == "train":
        found = _of_classes(root, split, folder, classes, classes)
    else:
        found = _held_out(root, split, folder, classes, val_labels)
    if left_out:
        kept = [os.fsdecode(file) not in left_out for file in found.files.tolist()]
        found = ImageFiles(root, split, found.files[kept], found.labels[kept], classes)
    if not len(found):
        raise DataError(f"{folder}: expected images ({_extensions()}) in class folders, found none")
    empty = found.without_images()
    if split == "train" and empty:
        raise DataError(
            f"{folder}: expected images ({_extensions()}) of every class, found none of "
            f"{_some(empty)}; add some or remove the folder (folders in a class's are not read)"
        )
    return found


def folder_of(root: Path, split: str) -> Path:
    """The folder of a split.

    Raises:
        ConfigError: it is not there.
    """
    found = next((root / name for name in FOLDERS[split] if (root / name).is_dir()), None)
    if found is None:
        there = sorted(path.name for path in root.iterdir()) if root.is_dir() else []
        raise ConfigError(
            f"{root}: expected a folder {' or '.join(FOLDERS[split])} with a folder of images for "
            f"each class, found {_some(there) if there else 'nothing'}"
        )
    return found


def _classes(root: Path) -> tuple[str, ...]:
    folders, _ = _entries(folder_of(root, "train"))
    if not folders:
        raise DataError(
            f"{folder_of(root, 'train')}: expected a folder of images for each class, found none"
        )
    return tuple(os.fsdecode(name) for name in folders)


def _held_out(
    root: Path, split: str, folder: Path, classes: tuple[str, ...], val_labels: Path | None
) -> ImageFiles:
    """The images of a folder with class folders, or with images and a file of their classes."""
    folders, loose = _entries(folder)
    if folders and loose:
        raise DataError(
            f"{folder}: expected class folders or images, found both ({_some_bytes(folders)}; "
            f"{_some_bytes(loose)}); move the images into their classes"
        )
    if folders or not loose:
        return _of_classes(root, split, folder, tuple(map(os.fsdecode, folders)), classes)
    is_valid = split == "valid"
    truth = (val_labels if is_valid else None) or find_truth((root, folder)[not is_valid :])
    if truth is None:
        raise DataError(
            f"{folder}: expected class folders, found {len(loose)} images without; give the file "
            f"of their classes with data.val_labels, or put it there as {' or '.join(KNOWN)}"
        )
    labels = read_truth(truth, [os.fsdecode(name) for name in loose], classes)
    start = os.fsencode(folder.name) + b"/"
    return ImageFiles(root, split, np.array([start + name for name in loose]), labels, classes)


def _of_classes(
    root: Path, split: str, folder: Path, folders: tuple[str, ...], classes: tuple[str, ...]
) -> ImageFiles:
    number_of = {name: number for number, name in enumerate(classes)}
    unknown = [name for name in folders if name not in number_of]
    if unknown:
        raise DataError(
            f"{folder}: expected classes of the training split, found {_some(unknown)}; a model "
            "cannot learn them: remove the folders, or add them to train"
        )
    files: list[bytes] = []
    labels: list[NDArray[np.int64]] = []
    for name in folders:
        _, images = _entries(folder / name)
        start = os.fsencode(f"{folder.name}/{name}/")
        files += [start + image for image in images]
        labels.append(np.full(len(images), number_of[name], dtype=np.int64))
    joined = np.concatenate(labels) if labels else np.zeros(0, dtype=np.int64)
    return ImageFiles(root, split, np.array(files, dtype=np.bytes_), joined, classes)


def _entries(folder: Path) -> tuple[list[bytes], list[bytes]]:
    """Folders and images in a folder, sorted by their bytes."""
    folders: list[bytes] = []
    images: list[bytes] = []
    with os.scandir(os.fsencode(folder)) as entries:
        for entry in entries:
            if entry.name.startswith(b"."):
                continue
            if entry.is_dir():
                folders.append(entry.name)
            elif os.path.splitext(entry.name)[1].lower() in EXTENSIONS:  # noqa: PTH122  bytes
                images.append(entry.name)
    return sorted(folders), sorted(images)


def _extensions() -> str:
    return ", ".join(sorted(extension.decode() for extension in EXTENSIONS))


def _some(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (" ..." if len(names) > SHOWN else "")


def _some_bytes(names: list[bytes]) -> str:
    return _some([os.fsdecode(name) for name in names])
