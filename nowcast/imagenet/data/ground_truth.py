"""Classes of a validation folder that has no class folders, from the file beside it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nowcast.core.errors import DataError

ILSVRC = "ILSVRC2012_validation_ground_truth.txt"
KNOWN = (ILSVRC, "val_labels.txt", "val.txt", "ground_truth.txt")
CLASS_LISTS = ("synsets.txt", "classes.txt", "wnids.txt")
IMAGENET_CLASSES = 1000


def find_truth(folders: Sequence[Path]) -> Path | None:
    """The first file of a known name in these folders."""
    paths = (folder / name for folder in folders for name in KNOWN)
    return next((path for path in paths if path.is_file()), None)


def read_truth(path: Path, names: Sequence[str], classes: Sequence[str]) -> NDArray[np.int64]:
    """The class of each image.

    The file has a line ``name class`` for each image, or, as ImageNet's own, one number a line:
    that of the class, from 1, in the order of the sorted file names. Numbers are those of a list of
    classes beside the file (`CLASS_LISTS`), one a line, whose order is that of the numbers.

    Args:
        path: of the file.
        names: of the images, sorted.
        classes: of the training split.

    Raises:
        DataError: an image without a class, a class that training has not, or no list of classes.
    """
    lines = [line.split() for line in _lines(path)]
    widths = {len(line) for line in lines}
    if widths == {1}:
        found = _numbered(path, [line[0] for line in lines], names)
    elif widths == {2}:
        found = _named(path, lines, names)
    else:
        raise DataError(
            f"{path}: expected `name class` on every line, or one class number, found "
            f"{sorted(widths) or 'no'} words"
        )
    known = {name: number for number, name in enumerate(classes)}
    unknown = sorted(set(found) - set(known))
    if unknown:
        raise DataError(
            f"{path}: expected classes of the training split, found {', '.join(unknown[:5])}"
            f"{' ...' if len(unknown) > 5 else ''}; name them as its folders are named"
        )
    return np.array([known[name] for name in found], dtype=np.int64)


def _named(path: Path, lines: Sequence[Sequence[str]], names: Sequence[str]) -> list[str]:
    class_of = {line[0]: line[1] for line in lines}
    if len(class_of) < len(lines):
        raise DataError(f"{path}: expected each image once, found one twice; remove a line")
    lacking = [name for name in names if name not in class_of]
    if lacking:
        raise DataError(
            f"{path}: expected the class of each of {len(names)} images, found none of "
            f"{lacking[0]} and {len(lacking) - 1} others; names are without folders"
        )
    return [class_of[name] for name in names]


def _numbered(path: Path, words: Sequence[str], names: Sequence[str]) -> list[str]:
    if len(words) != len(names):
        raise DataError(
            f"{path}: expected a number for each of {len(names)} images, found {len(words)}; "
            "an image is absent or there is one too many"
        )
    listed = _class_list(path)
    wrong = [word for word in words if not (word.isdecimal() and 1 <= int(word) <= len(listed))]
    if wrong:
        raise DataError(
            f"{path}: expected numbers from 1 to {len(listed)}, the classes listed beside it, "
            f"found {wrong[0]!r}"
        )
    return [listed[int(word) - 1] for word in words]


def _class_list(path: Path) -> list[str]:
    lists = [path.with_name(name) for name in CLASS_LISTS]
    found = next((beside for beside in lists if beside.is_file()), None)
    if found is None:
        raise DataError(
            f"{path}: expected a list of the classes in the order of its numbers beside it, found "
            f"no {' or '.join(CLASS_LISTS)}; of ImageNet write the WNIDs of the development kit's "
            "meta.mat there, by ILSVRC2012_ID, one a line"
        )
    listed = [line.split()[0] for line in _lines(found)]
    if len(set(listed)) < len(listed):
        raise DataError(f"{found}: expected each class once, found one twice; remove a line")
    if len(listed) == IMAGENET_CLASSES and listed == sorted(listed):
        raise DataError(
            f"{found}: expected ImageNet's classes by ILSVRC2012_ID (the first is n02119789), "
            "found them sorted by name, which gives other labels; take the order of meta.mat"
        )
    return listed


def _lines(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: expected a text file: {error}") from error
    return [line for line in text.splitlines() if line.strip()]
