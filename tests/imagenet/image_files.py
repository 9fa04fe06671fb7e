"""Pictures and trees of them that the tests write."""

import io
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
from PIL import Image


def picture(seed: int, height: int = 40, width: int = 60) -> np.ndarray:
    """A smooth random picture, which JPEG keeps well."""
    coarse = np.random.default_rng(seed).integers(40, 216, (4, 5, 3)).astype(np.float32)
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    return smooth.round().astype(np.uint8)


def encoded(image: Image.Image | np.ndarray, kind: str, **options) -> bytes:
    """An image as Pillow writes it."""
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image)
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def write_tree(root: Path, counts: Mapping[str, int]) -> Path:
    """Writes so many JPEGs of 40x60 into each folder, e.g. ``train/a``; pictures all differ."""
    seed = 0
    for folder, count in counts.items():
        (root / folder).mkdir(parents=True)
        for number in range(count):
            name = f"{folder.replace('/', '_')}_{number}.JPEG"
            (root / folder / name).write_bytes(encoded(picture(seed), "JPEG", quality=95))
            seed += 1
    return root
