"""Is every image of a tree one that can be read: `nowcast data images ROOT`."""

import os
import signal
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped
from numpy.typing import NDArray

from nowcast.core.errors import ConfigError, DataError
from nowcast.imagenet.data.tree import FOLDERS, ImageFiles, list_images
from nowcast.imagenet.data.unreadable import Unreadable
from nowcast.imagenet.transforms.decode import decode, format_of, read_bytes

HEADER = ("split", "images", "classes", "formats", "short side", "long side", "unreadable")
CHUNK = 64  # images a process is given at once


@dataclass(frozen=True)
class Looked:
    """What one image file is.

    Args:
        format: as its first bytes state it.
        sides: height and width, pixels, as it is shown; None where it cannot be read.
        reason: why not.
    """

    format: str
    sides: tuple[int, int] | None
    reason: str | None


@dataclass(frozen=True)
class SplitReport:
    """What a split of a tree holds.

    Args:
        files: of the split.
        formats: how many files have each format, whatever their names say.
        sides: height and width of each image that can be read, pixels.
        unreadable: the files that cannot.
    """

    files: ImageFiles
    formats: dict[str, int]
    sides: NDArray[np.int64]
    unreadable: tuple[Unreadable, ...]

    def row(self) -> list[str]:
        """A table's row, under `HEADER`."""
        classes = len(self.files.classes) - len(self.files.without_images())
        return [
            self.files.split,
            str(len(self.files)),
            str(classes),
            ", ".join(f"{count} {name}" for name, count in self.formats.items()),
            *(" / ".join(map(str, side)) for side in self._sides()),
            str(len(self.unreadable)),
        ]

    def content(self) -> dict[str, Any]:
        """For JSON."""
        short, long = self._sides()
        return {
            "split": self.files.split,
            "images": len(self.files),
            "classes_without_images": self.files.without_images(),
            "formats": self.formats,
            "short_side_min_median_max": short,
            "long_side_min_median_max": long,
            "unreadable": [
                {"file": printable(found.file), "reason": found.reason} for found in self.unreadable
            ],
            "hash": self.files.hash,
        }

    def _sides(self) -> tuple[list[int], list[int]]:
        """Least, median and greatest of the shorter and of the longer side; empty of no image."""
        if not len(self.sides):
            return [], []
        ordered = np.sort(self.sides, axis=1)
        return tuple(  # type: ignore[return-value]  # two
            [int(side.min()), int(np.median(side)), int(side.max())] for side in ordered.T
        )


def check_images(
    root: Path,
    val_labels: Path | None = None,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> list[SplitReport]:
    """Decode every image of a tree.

    Args:
        root: of the tree.
        val_labels: see `list_images`.
        workers: processes that decode.
        progress: called with (images decoded, images in all).

    Raises:
        ConfigError: no tree, or fewer workers than 1.
        DataError: the folders are not those of a tree of classes.
    """
    if workers < 1:
        raise ConfigError(f"workers: expected at least 1, found {workers}")
    there = [
        split
        for split, names in FOLDERS.items()
        if split == "train" or any((root / name).is_dir() for name in names)
    ]
    listed = [list_images(root, split, val_labels) for split in there]
    total, done = sum(map(len, listed)), 0
    reports: list[SplitReport] = []
    with ProcessPoolExecutor(workers, get_context("spawn"), _ignore_interrupts) as pool:
        for files in listed:
            chunks = (files.files[first : first + CHUNK] for first in range(0, len(files), CHUNK))
            looked: list[Looked] = []
            for found in pool.map(look, repeat(root), chunks):
                looked += found
                done += len(found)
                if progress is not None:
                    progress(done, total)
            reports.append(_report(files, looked))
    return reports


def look(root: Path, files: Shaped[np.ndarray, " image"]) -> list[Looked]:
    """Read image files of a tree and say what they are."""
    return [_look(root / os.fsdecode(file)) for file in files]


def _look(path: Path) -> Looked:
    data = b""
    try:
        data = read_bytes(path)
        height, width, _ = decode(data, path).shape
    except DataError as error:
        return Looked(format_of(data), None, printable(str(error)))
    return Looked(format_of(data), (height, width), None)


def printable(text: str) -> str:
    """Text of which a terminal and JSON can show all, file names that are no UTF-8 among it."""
    return text.encode("utf-8", "backslashreplace").decode()


def _ignore_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer


def _report(files: ImageFiles, looked: list[Looked]) -> SplitReport:
    readable = [found.sides for found in looked if found.sides is not None]
    return SplitReport(
        files=files,
        formats=dict(Counter(found.format for found in looked).most_common()),
        sides=np.array(readable, dtype=np.int64).reshape(-1, 2),
        unreadable=tuple(
            Unreadable(files.file(number), found.reason)
            for number, found in enumerate(looked)
            if found.reason is not None
        ),
    )
