"""A Swin of six narrow blocks, and images of six colours that it can learn."""

from pathlib import Path
from typing import Any

import numpy as np

from nowcast.imagenet.settings import ImagenetSettings
from nowcast.imagenet.shape import Shape
from tests.imagenet.image_files import encoded

SIZE = 32
SHAPE = Shape(embed_dim=8, depths=(1, 1, 4), num_heads=(1, 2, 2), window_size=2, patch_size=4)
COLOURS = {
    "blue": (30, 40, 200),
    "cyan": (30, 200, 200),
    "green": (30, 180, 40),
    "pink": (220, 120, 200),
    "red": (200, 40, 30),
    "yellow": (210, 210, 40),
}


def write_colours(root: Path, train: int = 8, val: int = 3) -> Path:
    """Noisy images of 40x48 pixels in class folders."""
    rng = np.random.default_rng(0)
    for split, count in {"train": train, "val": val}.items():
        for name, colour in COLOURS.items():
            folder = root / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = np.clip(rng.normal(colour, 40, (40, 48, 3)), 0, 255).astype(np.uint8)
                (folder / f"{number}.png").write_bytes(encoded(pixels, "PNG"))
    return root


def settings(root: Path, **changes: Any) -> ImagenetSettings:
    """Of a short run; `changes` are sections."""
    content: dict[str, Any] = {
        "task": "imagenet",
        "data": {"root": str(root), "size": SIZE},
        "model": {"own": SHAPE.model_dump(), "drop_path": 0.0},
        "train": {"epochs": 2, "batch_size": 8, "validate_every": None, "log_every": 2},
        "optim": {"name": "adamw", "lr": 3e-3, "schedule": "cosine", "warm_up": 0.1},
        "augment": {"randaugment": None, "colour_jitter": 0.0},
    }
    for name, section in changes.items():
        old = content.get(name)
        content[name] = old | section if isinstance(old, dict) else section
    return ImagenetSettings.model_validate(content)
