"""Which part of an image is shown at which size: the centre, or at random; resized by Pillow.

Pillow's bicubic filter widens as an image shrinks, as in the code Swin was trained and scored with;
OpenCV's does not, and gives other pixels.
"""

import math

import numpy as np
from jaxtyping import UInt8
from PIL import Image

EVALUATION_RATIO = 256 / 224  # short side before the centre is cut out, per side of what is cut
RATIO = (3 / 4, 4 / 3)  # width to height of random crops
ATTEMPTS = 10

Box = tuple[int | float, int | float, int | float, int | float]  # left, top, right, bottom


def centre(image: UInt8[np.ndarray, "height width 3"], size: int) -> Image.Image:
    """The centre of an image: its short side becomes ``int(size * 256 / 224)``, then a square of
    `size` is cut out."""
    height, width = image.shape[:2]
    short = int(size * EVALUATION_RATIO)
    if width <= height:
        resized = (short, int(short * height / width))
    else:
        resized = (int(short * width / height), short)
    left, top = (round((side - size) / 2) for side in resized)
    # Only what is shown is resized. All of it, then cut, differs by a level here and there.
    x, y = width / resized[0], height / resized[1]
    return resized_part(image, (left * x, top * y, (left + size) * x, (top + size) * y), size)


def resized_part(image: UInt8[np.ndarray, "height width 3"], box: Box, size: int) -> Image.Image:
    """A part of an image, stretched to a square of `size`."""
    return Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC, box=box)


def random_box(
    height: int, width: int, scale: tuple[float, float], generator: np.random.Generator
) -> Box:
    """A random part of an image: area and logarithm of the ratio of its sides are uniform.

    Where ten tries do not fit into the image, the middle of it, as near to the ratios as can be.

    Args:
        height: of the image.
        width: of the image.
        scale: least and greatest share of the image's area.
        generator: what is drawn from.
    """
    for _ in range(ATTEMPTS):
        area = height * width * generator.uniform(*scale)
        ratio = math.exp(generator.uniform(math.log(RATIO[0]), math.log(RATIO[1])))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            left = int(generator.integers(0, width - w, endpoint=True))
            top = int(generator.integers(0, height - h, endpoint=True))
            return left, top, left + w, top + h
    w = min(width, max(1, round(height * RATIO[1])))
    h = min(height, max(1, round(width / RATIO[0])))
    left, top = (width - w) // 2, (height - h) // 2
    return left, top, left + w, top + h
