"""The input frames of one clip, one at a time: all that a forecast of large frames has room for."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from nowcast.core.system.threads import one_thread
from nowcast.precipitation.forecasters.comoving.network import padded
from nowcast.precipitation.forecasters.flow.extrapolation import with_data
from nowcast.precipitation.forecasters.flow.motion import motion_field
from nowcast.precipitation.forecasters.rate_scale import to_hko7
from nowcast.precipitation.units import PIXEL_LEVELS, Calibration

FLOW_FRAMES = 3  # that motion is estimated from


class Clip:
    """The input frames of one clip, made ready one at a time.

    Args:
        frames: ``1 in_len 1 height width``, pixels in [0, 1] or 8-bit levels.
        mask: True where there is data; None is everywhere.
        calibration: of the frames.
    """

    def __init__(self, frames: Tensor, mask: Tensor | None, calibration: Calibration) -> None:
        self._frames, self._mask, self._calibration = frames, mask, calibration
        self.length = frames.shape[1]
        present = [True] * self.length
        if mask is not None:
            present = [bool(mask[:, time].any()) for time in range(self.length)]
        self._present = [time for time, there in enumerate(present) if there]
        self._source = [self._nearest(time) for time in range(self.length)]

    def _nearest(self, time: int) -> int:
        """The frame that stands for one without data, as `forecaster.without_gaps` has it."""
        before = [there for there in self._present if there <= time]
        return before[-1] if before else min(self._present, default=0)

    def _one(self, time: int) -> tuple[Tensor, Tensor]:
        part = self._frames[:, time : time + 1]
        if part.dtype == torch.uint8:
            part = part.float() / PIXEL_LEVELS
        known = None if self._mask is None else self._mask[:, time : time + 1]
        pixels, data = with_data(part, known)
        return to_hko7(pixels, self._calibration)[:, 0], data[:, 0]

    def frame(self, time: int) -> tuple[Tensor, Tensor]:
        """Pixels and data of a time, ``1 1 high wide``, padded; a gap repeats its neighbour."""
        pixels, data = self._one(self._source[time])
        return padded(pixels), padded(data)

    def motion(self) -> Float[Tensor, "1 2 height width"]:
        """At the last frame, as `forecaster.motions`: it sees the last frames with data alone."""
        first = self._present[-FLOW_FRAMES:][0] if self._present else self.length - 1
        frames = [self._one(time) for time in range(first, self.length)]
        pixels, data = (torch.cat(parts)[:, 0].cpu().numpy() for parts in zip(*frames, strict=True))
        with one_thread():
            found = motion_field(pixels, data)
        return torch.from_numpy(np.ascontiguousarray(found))[None].to(self._frames.device)
