"""Pixels as a model sees them: mean 0 and standard deviation 1 over ImageNet."""

import numpy as np
from jaxtyping import Float32
from PIL import Image

MEAN = (0.485, 0.456, 0.406)  # of ImageNet's pixels in [0, 1], red, green, blue
DEVIATION = (0.229, 0.224, 0.225)

_SCALE = (1 / (255 * np.array(DEVIATION))).astype(np.float32)
_SHIFT = (np.array(MEAN) / np.array(DEVIATION)).astype(np.float32)


def normalised(image: Image.Image) -> Float32[np.ndarray, "3 height width"]:
    """An RGB image as a model's input."""
    pixels = np.asarray(image, dtype=np.float32) * _SCALE - _SHIFT
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))
