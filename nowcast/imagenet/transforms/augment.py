"""An image becomes a model's input: for training at random, a pure function of seed, step and place
in the batch, so that neither worker processes nor ranks nor resuming change what is seen."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image, ImageEnhance, ImageOps

from nowcast.imagenet.settings import AugmentSettings
from nowcast.imagenet.transforms.geometry import ATTEMPTS, centre, random_box, resized_part
from nowcast.imagenet.transforms.pixels import normalised
from nowcast.imagenet.transforms.randaugment import randaugment

STREAM = 4  # of random numbers, apart from those of core.sampling and of mixing
ERASED_AREA = (0.02, 1 / 3)  # share of the image
ERASED_RATIO = (0.3, 1 / 0.3)  # height to width


def evaluated(
    image: UInt8[np.ndarray, "height width 3"], size: int
) -> Float32[np.ndarray, "3 size size"]:
    """The centre of an image, normalised."""
    return normalised(centre(image, size))


@dataclass(frozen=True)
class Augment:
    """What training does to a single image.

    Args:
        settings: which parts, and how strong.
        size: rows and columns of the result.
        seed: of the run.
    """

    settings: AugmentSettings
    size: int
    seed: int

    def __call__(
        self, image: UInt8[np.ndarray, "height width 3"], step: int, place: int
    ) -> Float32[np.ndarray, "3 size size"]:
        """The image as it is seen at a step.

        Args:
            image: decoded.
            step: of training.
            place: in the batch of all ranks.
        """
        generator = np.random.default_rng((self.seed, step, STREAM, place))
        settings = self.settings
        shown = self._cropped(image, generator)
        if generator.random() < settings.flip:
            shown = ImageOps.mirror(shown)
        if settings.randaugment is not None:
            shown = randaugment(shown, settings.randaugment, generator)
        elif settings.colour_jitter:
            shown = jittered(shown, settings.colour_jitter, generator)
        pixels = normalised(shown)
        if generator.random() < settings.erase:
            erase(pixels, generator)
        return pixels

    def _cropped(
        self, image: UInt8[np.ndarray, "height width 3"], generator: np.random.Generator
    ) -> Image.Image:
        if self.settings.crop_scale is None:
            return centre(image, self.size)
        height, width = image.shape[:2]
        box = random_box(height, width, self.settings.crop_scale, generator)
        return resized_part(image, box, self.size)


def jittered(image: Image.Image, strength: float, generator: np.random.Generator) -> Image.Image:
    """Brightness, contrast and saturation, in random order, each by a factor of 1 +- strength."""
    enhancers = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)
    for number in generator.permutation(len(enhancers)).tolist():
        factor = generator.uniform(max(0, 1 - strength), 1 + strength)
        image = enhancers[number](image).enhance(factor)
    return image


def erase(pixels: Float32[np.ndarray, "3 height width"], generator: np.random.Generator) -> None:
    """Random erasing (Zhong et al. 2020, arXiv:1708.04896): a rectangle becomes normal noise, in
    place; nothing where ten tries do not fit."""
    _, height, width = pixels.shape
    for _ in range(ATTEMPTS):
        area = height * width * generator.uniform(*ERASED_AREA)
        ratio = math.exp(generator.uniform(*np.log(ERASED_RATIO)))
        h, w = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if h < height and w < width:
            top = int(generator.integers(0, height - h, endpoint=True))
            left = int(generator.integers(0, width - w, endpoint=True))
            noise = generator.standard_normal((3, h, w), dtype=np.float32)
            pixels[:, top : top + h, left : left + w] = noise
            return
