"""Optical flow: the last frame carried along the motion of the frames before it."""

from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from nowcast.core.system.threads import one_thread
from nowcast.precipitation.forecasters.flow.advection import advect
from nowcast.precipitation.forecasters.flow.motion import Method, motion_field, newest_with_data

Inflow = Literal["persist", "dry"]


class Extrapolation(nn.Module):
    """Extrapolation of the last frame along its optical flow; without parameters or gradient.

    What flows in from outside the frame or from no data is unknown. There the forecast takes the
    last frame's own value at that place (``persist``: no worse than persistence), or is dry.
    Where the last frame has no data either it is dry. If the last frame has none at all, the
    forecast starts from the newest frame that has, that many steps earlier.

    Args:
        out_len: frames to forecast.
        motion: method of optical flow, see `motion_field`.
        inflow: what to put where the source is unknown.
        pairs: pairs of frames whose flow is averaged, at most.
        blur_px: sigma of the blur before the flow is estimated, in pixels; None is the method's
            own.

    Raises:
        ValueError: a setting is none of those, or an unmasked pixel is not a number.
    """

    def __init__(
        self,
        out_len: int,
        motion: Method = "dis",
        inflow: Inflow = "persist",
        pairs: int = 2,
        blur_px: float | None = None,
    ) -> None:
        super().__init__()
        for name, value, known in (
            ("motion", motion, get_args(Method)),
            ("inflow", inflow, get_args(Inflow)),
        ):
            if value not in known:
                raise ValueError(f"{name}: expected one of {', '.join(known)}, found {value!r}")
        if pairs < 1 or (blur_px is not None and blur_px < 0):
            raise ValueError(f"expected pairs >= 1 and blur_px >= 0, found {pairs} and {blur_px}")
        self.out_len = out_len
        self.method: Method = motion
        self.inflow: Inflow = inflow
        self.pairs = pairs
        self.blur_px = blur_px

    @torch.no_grad()
    def forward(
        self,
        frames: Float[Tensor, "batch in_len 1 height width"],
        mask: Bool[Tensor, "batch in_len 1 height width"] | None = None,
    ) -> Float[Tensor, "batch out_len 1 height width"]:
        """Forecast `out_len` frames; the flow is estimated on the CPU, clip by clip."""
        return self.with_sources(frames, mask)[0]

    @torch.no_grad()
    def with_sources(
        self,
        frames: Float[Tensor, "batch in_len 1 height width"],
        mask: Bool[Tensor, "batch in_len 1 height width"] | None = None,
        motion: Float[Tensor, "batch 2 height width"] | None = None,
    ) -> tuple[
        Float[Tensor, "batch out_len 1 height width"], Bool[Tensor, "batch out_len 1 height width"]
    ]:
        """The forecast, along a motion or its own estimate, and where the source of its rain is
        known."""
        pixels, data = with_data(frames, mask)
        along = [None] * len(pixels) if motion is None else motion
        with one_thread():
            clips = [self._clip(*clip) for clip in zip(pixels, data, along, strict=True)]
        forecasts, known = (torch.stack(parts) for parts in zip(*clips, strict=True))
        return forecasts.to(frames.dtype), known

    def _clip(self, frames: Tensor, mask: Tensor, along: Tensor | None) -> tuple[Tensor, Tensor]:
        seen = mask[:, 0].cpu().numpy()
        newest = newest_with_data(seen)
        late = len(frames) - 1 - newest
        last = frames[newest]
        if not bool(last.any()):
            found = last.expand(self.out_len, -1, -1, -1)
            return found, torch.ones_like(found, dtype=torch.bool)
        if along is None:
            flow = motion_field(
                frames[:, 0].cpu().numpy(), seen, self.method, self.pairs, self.blur_px
            )
            along = torch.from_numpy(np.ascontiguousarray(flow))
        rain, known = advect(
            last[None],
            mask[newest][None],
            along[None].to(last),
            range(1 + late, self.out_len + 1 + late),
        )
        unknown = last if self.inflow == "persist" else torch.zeros_like(last)
        return rain[0].where(known[0], unknown), known[0]


def with_data(
    frames: Float[Tensor, "batch in_len 1 height width"],
    mask: Bool[Tensor, "batch in_len 1 height width"] | None,
    motion: Float[Tensor, "batch 2 height width"] | None = None,
) -> tuple[
    Float[Tensor, "batch in_len 1 height width"], Bool[Tensor, "batch in_len 1 height width"]
]:
    """Frames in float32, 0 where there is no data, and where there is; no mask is data everywhere.

    Raises:
        ValueError: a pixel with data is not a number. Frames on a GPU that come with their `motion`
            are not looked at: the GPU's answer would be waited for, and whoever estimated the
            motion has seen them.
    """
    data = torch.ones_like(frames, dtype=torch.bool) if mask is None else mask
    pixels = frames.float().where(data, 0.0)
    here = pixels.device.type == "cpu" or motion is None
    if here and not bool(pixels.isfinite().all()):
        raise ValueError("expected numbers where the mask is True, found NaN or infinity")
    return pixels, data


def motions(
    frames: Float[Tensor, "batch in_len 1 height width"],
    mask: Bool[Tensor, "batch in_len 1 height width"],
) -> Float[Tensor, "batch 2 height width"]:
    """Optical flow at the last frame of each clip, pixels a step; see `motion_field`."""
    with one_thread():
        found = [
            motion_field(clip[:, 0].cpu().numpy(), seen[:, 0].cpu().numpy())
            for clip, seen in zip(frames.detach(), mask, strict=True)
        ]
    return torch.from_numpy(np.stack(found)).to(frames)
