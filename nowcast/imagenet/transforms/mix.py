"""Mixup and CutMix: each image of a batch is mixed with the one at the mirrored place, and so are
their targets.

How is drawn once a batch, from seed and step alone, so all ranks mix alike.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from nowcast.core.system.distributed import Ranks
from nowcast.imagenet.settings import AugmentSettings

STREAM = 5  # of random numbers, see augment.STREAM
SWITCH = 0.5  # share of the batches that CutMix has, where both are on


@dataclass(frozen=True)
class Mix:
    """How the images of a batch are mixed.

    Args:
        weight: of an image itself in its target; its partner has the rest.
        box: rows and columns that come from the partner (CutMix); None weights all pixels (Mixup).
    """

    weight: float
    box: tuple[slice, slice] | None

    def images(
        self,
        images: Float[Tensor, "batch 3 height width"],
        partners: Float[Tensor, "batch 3 height width"],
    ) -> Float[Tensor, "batch 3 height width"]:
        """Mixup: weight * image + (1 - weight) * partner; CutMix: the partner's box in it."""
        if self.box is None:
            return torch.lerp(partners, images, self.weight)
        rows, columns = self.box
        mixed = images.clone()
        mixed[:, :, rows, columns] = partners[:, :, rows, columns]
        return mixed

    def targets(
        self, targets: Float[Tensor, "batch classes"], partners: Float[Tensor, "batch classes"]
    ) -> Float[Tensor, "batch classes"]:
        """weight * target + (1 - weight) * partner's."""
        return torch.lerp(partners, targets, self.weight)


def draw_mix(settings: AugmentSettings, seed: int, step: int, size: int) -> Mix | None:
    """How the batch of a step is mixed; None where Mixup and CutMix are off.

    Args:
        settings: Mixup (Zhang et al. 2018, arXiv:1710.09412) and CutMix (Yun et al. 2019,
            arXiv:1905.04899), each with its Beta distribution.
        seed: of the run.
        step: of training.
        size: rows and columns of the images.
    """
    if not settings.mixup and not settings.cutmix:
        return None
    generator = np.random.default_rng((seed, step, STREAM))
    is_cut = settings.cutmix > 0 and (not settings.mixup or generator.random() < SWITCH)
    alpha = settings.cutmix if is_cut else settings.mixup
    weight = float(generator.beta(alpha, alpha))
    if not is_cut:
        return Mix(weight, None)
    side = int(size * np.sqrt(1 - weight))
    rows, columns = (_around(int(generator.integers(size)), side, size) for _ in range(2))
    area = (rows.stop - rows.start) * (columns.stop - columns.start)
    return Mix(1 - area / size**2, (rows, columns))


def _around(middle: int, side: int, size: int) -> slice:
    """What of `side` pixels around the middle lies in the image."""
    return slice(max(middle - side // 2, 0), min(middle + side // 2, size))


def soft_targets(
    labels: Int[Tensor, " batch"], classes: int, smoothing: float
) -> Float[Tensor, "batch classes"]:
    """1 - smoothing for the label, and smoothing / classes for every class, it included."""
    hard = functional.one_hot(labels, classes).float()
    return hard * (1 - smoothing) + smoothing / classes


def partner(place: int, batch_size: int) -> int:
    """The place in the batch that is mixed with this one; its partner in turn is this one."""
    return batch_size - 1 - place


def places_of(batch_size: int, ranks: Ranks) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """The places in the batch that a rank has: pairs of partners as far as that divides, so that
    few images are read by two ranks."""
    firsts = np.arange((batch_size + 1) // 2)
    pairs = np.stack([firsts, batch_size - 1 - firsts], axis=1).ravel()[:batch_size]
    return np.sort(np.array_split(pairs, ranks.size)[ranks.rank]).astype(np.int64)
