"""What a forecaster is told of the frames that it sees: the time between them, and their pixels."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from nowcast.precipitation.archive.description import Description

UNKNOWN = 0.0  # as a number of a tensor


@dataclass(frozen=True)
class Scale:
    """Of the frames of an archive.

    Args:
        step_minutes: between two frames; None where it is not known.
        pixel_km: height of a pixel; None where it is not known.
    """

    step_minutes: int | float | None = None
    pixel_km: int | float | None = None

    @classmethod
    def of(cls, description: Description) -> "Scale":
        """Of an archive."""
        return cls(description.step_minutes, description.km_per_pixel)


def repeated(scale: Scale, count: int, device: torch.device) -> Float[Tensor, "clips 2"]:
    """`numbers` of so many clips of one scale, made on a device."""
    known = scale.step_minutes or UNKNOWN, scale.pixel_km or UNKNOWN
    return torch.stack([torch.full((count,), float(one), device=device) for one in known], 1)


def numbers(scales: Sequence[Scale]) -> Float[Tensor, "clips 2"]:
    """Minutes a step and km a pixel, 0 where unknown."""
    known = [[s.step_minutes or UNKNOWN, s.pixel_km or UNKNOWN] for s in scales]
    return torch.tensor(known, dtype=torch.float32)
