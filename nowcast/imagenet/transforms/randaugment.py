"""RandAugment (Cubuk et al. 2020, arXiv:1909.13719) as Swin's recipe has it: rand-m9-mstd0.5-inc1.

The operations are Pillow's, as in timm, whose transforms the recipe names; libraries that have a
RandAugment of their own have other strengths and blend brightness and contrast otherwise.
"""

from collections.abc import Callable, Mapping

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from nowcast.imagenet.transforms.pixels import MEAN

LAYERS = 2  # operations an image
PROBABILITY = 0.5  # of each
DEVIATION = 0.5  # of the magnitude
MOST = 10.0  # magnitude

FILL = tuple(round(255 * mean) for mean in MEAN)  # where nothing of the image comes to lie

Operation = Callable[[Image.Image, float, int], Image.Image]
"""Of an image, the share of the greatest strength (0 to 1), and a sign."""


def _affine(image: Image.Image, matrix: tuple[int | float, ...]) -> Image.Image:
    return image.transform(
        image.size, Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC, fillcolor=FILL
    )


def _rotate(image: Image.Image, share: float, sign: int) -> Image.Image:
    return image.rotate(sign * 30 * share, Image.Resampling.BICUBIC, fillcolor=FILL)


def _solarize_add(image: Image.Image, share: float, _: int) -> Image.Image:
    added = int(110 * share)
    levels = [min(255, level + added) if level < 128 else level for level in range(256)]
    return image.point(levels * 3)


def _bits(share: float) -> int:
    """Bits of a colour that are left; one at least, where timm of old left a black image."""
    return max(1, 4 - int(4 * share))


def _factor(share: float, sign: int) -> float:
    """1 leaves an image as it is; 0.1 to 1.9."""
    return max(0.1, 1 + sign * 0.9 * share)


OPERATIONS: Mapping[str, Operation] = {
    "auto contrast": lambda image, share, sign: ImageOps.autocontrast(image),
    "equalize": lambda image, share, sign: ImageOps.equalize(image),
    "invert": lambda image, share, sign: ImageOps.invert(image),
    "rotate": _rotate,
    "posterize": lambda image, share, sign: ImageOps.posterize(image, _bits(share)),
    "solarize": lambda image, share, sign: ImageOps.solarize(image, 256 - int(256 * share)),
    "solarize add": _solarize_add,
    "colour": lambda image, share, sign: ImageEnhance.Color(image).enhance(_factor(share, sign)),
    "contrast": lambda image, share, sign: ImageEnhance.Contrast(image).enhance(
        _factor(share, sign)
    ),
    "brightness": lambda image, share, sign: ImageEnhance.Brightness(image).enhance(
        _factor(share, sign)
    ),
    "sharpness": lambda image, share, sign: ImageEnhance.Sharpness(image).enhance(
        _factor(share, sign)
    ),
    "shear x": lambda image, share, sign: _affine(image, (1, sign * 0.3 * share, 0, 0, 1, 0)),
    "shear y": lambda image, share, sign: _affine(image, (1, 0, 0, sign * 0.3 * share, 1, 0)),
    "translate x": lambda image, share, sign: _affine(
        image, (1, 0, sign * 0.45 * share * image.width, 0, 1, 0)
    ),
    "translate y": lambda image, share, sign: _affine(
        image, (1, 0, 0, 0, 1, sign * 0.45 * share * image.height)
    ),
}


def randaugment(
    image: Image.Image, magnitude: float, generator: np.random.Generator
) -> Image.Image:
    """Change an image by two operations drawn with replacement, each left out half of the time.

    Args:
        image: RGB.
        magnitude: mean of each operation's, of 10.
        generator: what is drawn from.
    """
    names = list(OPERATIONS)
    for number in generator.integers(0, len(names), LAYERS).tolist():
        is_used = generator.random() < PROBABILITY
        share = float(np.clip(generator.normal(magnitude, DEVIATION), 0, MOST)) / MOST
        sign = 1 if generator.random() < 0.5 else -1
        if is_used:
            image = OPERATIONS[names[number]](image, share, sign)
    return image
