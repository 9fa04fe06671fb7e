"""A batch of clips: frames with their masks and times, checked when built."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor

from nowcast.precipitation.units import PIXEL_LEVELS


@dataclass(frozen=True)
class RadarBatch:
    """Clips of `in_len` input frames and the frames that followed.

    Args:
        levels: 8-bit frames; a missing one repeats the frame before it.
        mask: True = use; all False where the frame is missing.
        times: valid time of each frame, UTC, minutes since 1970.
        missing: True where there is no frame.
        in_len: how many frames of each clip are input.
        weight: what each clip's loss is multiplied by; None is 1 for all.
        scale: minutes a step and km a pixel of each clip as a forecaster is told them, 0 where it
            is not; None: as the archive says.
        motion: of the rain at the last input frame, pixels a step, as the forecaster that the batch
            is for estimates it; None: it has to.

    Raises:
        ValueError: `in_len` leaves no frame to forecast, or times do not ascend evenly.
    """

    levels: UInt8[Tensor, "batch time 1 height width"]
    mask: Bool[Tensor, "batch time 1 height width"]
    times: Int64[Tensor, "batch time"]
    missing: Bool[Tensor, "batch time"]
    in_len: int
    weight: Float[Tensor, " batch"] | None = None
    scale: Float[Tensor, "batch 2"] | None = None
    motion: Float[Tensor, "batch 2 height width"] | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.in_len < self.levels.shape[1]:
            raise ValueError(
                f"in_len must be 1 to {self.levels.shape[1] - 1} of a clip of "
                f"{self.levels.shape[1]} frames; found {self.in_len}"
            )
        steps = self.times.diff(dim=1)
        if bool((steps <= 0).any()) or bool((steps != steps[:, :1]).any()):
            raise ValueError("the times of a clip must ascend by one step")

    @property
    def inputs(self) -> Float[Tensor, "batch in_len 1 height width"]:
        """Input frames, pixels in [0, 1]."""
        return self.levels[:, : self.in_len].float() / PIXEL_LEVELS

    @property
    def input_mask(self) -> Bool[Tensor, "batch in_len 1 height width"]:
        """Mask of the input frames, True = use."""
        return self.mask[:, : self.in_len]

    @property
    def last(self) -> Float[Tensor, "batch 1 height width"]:
        """The last input frame, which persistence forecasts; 0 where masked."""
        return self.inputs[:, -1].where(self.input_mask[:, -1], 0.0)

    @property
    def truth(self) -> Float[Tensor, "batch out_len 1 height width"]:
        """Frames to forecast, pixels in [0, 1]."""
        return self.levels[:, self.in_len :].float() / PIXEL_LEVELS

    @property
    def truth_mask(self) -> Bool[Tensor, "batch out_len 1 height width"]:
        """Mask of the frames to forecast, True = use."""
        return self.mask[:, self.in_len :]

    def to(self, device: torch.device) -> "RadarBatch":
        """The batch on a device; 8-bit levels travel, a quarter of the floats they become."""
        return replace(
            self,
            levels=self.levels.to(device, non_blocking=True),
            mask=self.mask.to(device, non_blocking=True),
            weight=None if self.weight is None else self.weight.to(device, non_blocking=True),
            scale=None if self.scale is None else self.scale.to(device, non_blocking=True),
            motion=None if self.motion is None else self.motion.to(device, non_blocking=True),
        )

    def take(self, which: Int64[np.ndarray, " some"]) -> "RadarBatch":
        """The clips at these places."""
        chosen = torch.from_numpy(which)
        weight = None if self.weight is None else self.weight[chosen]
        return RadarBatch(
            self.levels[chosen],
            self.mask[chosen],
            self.times[chosen],
            self.missing[chosen],
            self.in_len,
            weight,
            None if self.scale is None else self.scale[chosen],
            None if self.motion is None else self.motion[chosen],
        )

    def pin_memory(self) -> "RadarBatch":
        """In memory that a GPU copies from while it computes; `DataLoader` calls it."""
        motion = None if self.motion is None else self.motion.pin_memory()
        levels, mask = self.levels.pin_memory(), self.mask.pin_memory()
        return replace(self, levels=levels, mask=mask, motion=motion)

    def names(self) -> list[str]:
        """Init time of each clip, e.g. ``2018-05-19T14:05``, for messages and pictures."""
        start = self.times[:, self.in_len - 1].numpy()
        return [str(time) for time in start.astype("datetime64[m]").astype(np.datetime64)]


def clip_bytes(count: int, length: int, height: int, width: int) -> int:
    """What the tensors of a batch of so many clips take: levels and mask, times, what is missing,
    and at most a weight each."""
    return count * (2 * length * height * width + (8 + 1) * length + 4)
