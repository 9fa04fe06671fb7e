"""A recurrent network that moves with the rain, and corrects what smoothing and motion foresee."""

from collections.abc import Sequence
from math import prod
from typing import ClassVar, Literal

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, nn

from nowcast.precipitation.forecasters.comoving.clip import Clip
from nowcast.precipitation.forecasters.comoving.correction import MULTIPLE
from nowcast.precipitation.forecasters.comoving.network import (
    ComovingNetwork,
    Widths,
)
from nowcast.precipitation.forecasters.comoving.past import CASCADE_FRAMES
from nowcast.precipitation.forecasters.flow.extrapolation import motions, with_data
from nowcast.precipitation.forecasters.graph import (
    Graph,
    example_frames,
    example_mask,
    example_motion,
    example_scale,
)
from nowcast.precipitation.forecasters.rate_scale import from_hko7, to_hko7
from nowcast.precipitation.forecasters.scale import Scale, repeated
from nowcast.precipitation.forecasters.settings import ForecasterSettings
from nowcast.precipitation.units import HKO7_ZR_A, HKO7_ZR_B, PIXEL_LEVELS, Calibration

BYTES_AT_MOST = 2**30
# Of one clip on a CPU: of larger ones, what a lead time makes has left the caches when it is read.
# Measured on 96x96 to 480x480 frames, 10 -> 10, with AVX2 and with AVX-512.
BYTES_IN_CACHES = 2**28
# Measured on 4400x3800 frames, 10 -> 10 and 5 -> 20; on top of input and forecast.
BYTES_A_PIXEL_AND_LEAD = 118
BYTES_A_PIXEL = 160
RANKED = 0.01  # share of a graph's pixels that rounding may give another rank, see `Ranked`


class Comoving(nn.Module):
    """A forecast by optical flow and scale-dependent persistence, corrected by a ConvGRU network.

    Optical flow gives the motion. Along it the input frames are carried to where the rain is now,
    so that what a place saw of the past is the past of its own rain. A ConvGRU encoder reads that
    sequence, a ConvGRU forecaster goes on from it, and what it says is carried on to where the rain
    will be. There it meets two forecasts without learning, the extrapolation and S-PROG's smoothed
    one (`cascade`), and where each of them is known and where it is persistence
    (see `Extrapolation`). From all that come, pixel by pixel,

    ``forecast = smoothed + c * smoothed + sum_k a_k * band_k(extrapolation)
    + d * (mean of the past - extrapolation) + b + added``

    where `added` is what a small network says of each pixel by itself (`correction.Correction`);
    and whatever the weights are, no more than `bound` allows. It is told what a step and a pixel
    are, and how much of the rain has lasted so far at each scale (`circumstances`). The weights
    that the forecast is made with are zero when training begins, which therefore begins at S-PROG
    along optical flow.

    Whatever the archive's Z-R relation, the network sees HKO-7's (`rate_scale`).

    Args:
        out_len: frames to forecast.
        calibration: Z-R relation of the pixels that come and go.
        widths: of the network.

    Shape:
        ``batch in_len 1 height width`` -> ``batch out_len 1 height width``, pixels in [0, 1]
        (outputs are not clipped); frames of any size, from 3 in.
    """

    def __init__(
        self,
        out_len: int,
        calibration: Calibration | None = None,
        widths: Widths | None = None,
    ) -> None:
        super().__init__()
        self.calibration = calibration or Calibration()
        self.network = ComovingNetwork(out_len, widths or Widths())
        self.bytes_at_most = BYTES_AT_MOST
        self.scale = Scale()

    def gradient_checkpointing_enable(self, _: object = None) -> None:
        """See `EncoderForecaster`."""
        self.network.gradient_checkpointing_enable()

    def forward(
        self,
        frames: Float[Tensor, "batch in_len 1 height width"]
        | UInt8[Tensor, "batch in_len 1 height width"],
        mask: Bool[Tensor, "batch in_len 1 height width"] | None = None,
        motion: Float[Tensor, "batch 2 height width"] | None = None,
        scale: Float[Tensor, "batch 2"] | None = None,
        out_len: int | None = None,
    ) -> Float[Tensor, "batch out_len 1 height width"]:
        """Forecast `out_len` frames, along a motion in pixels a step or, without one, along optical
        flow, which is estimated on the CPU, clip by clip. `scale` is minutes a step and km a pixel,
        0 where unknown; None: those of `self.scale`. `out_len` None: as many as it was built for.

        Frames are pixels in [0, 1] or 8-bit levels. Without a gradient, what would take more than
        `bytes_at_most`, and on a CPU what would be slower otherwise, is forecast a lead time at a
        time, the same to rounding.

        Raises:
            ValueError: a pixel with data is not a number; see `with_data` for frames on a GPU.
        """
        leads = self.network.out_len if out_len is None else out_len
        if scale is None:
            scale = repeated(self.scale, len(frames), frames.device)
        if not torch.is_grad_enabled() and self._too_large(frames, leads):
            return self._one_by_one(frames, mask, motion, scale, leads)
        pixels = frames.float() / PIXEL_LEVELS if frames.dtype == torch.uint8 else frames
        pixels, data = with_data(pixels, mask, motion)
        pixels = to_hko7(pixels, self.calibration)
        motion = motions(pixels, data) if motion is None else motion
        pixels, data = without_gaps(pixels, data)
        forecast: Tensor = self.network(pixels, data, motion, scale, leads)
        return from_hko7(forecast, self.calibration)

    def _too_large(self, frames: Tensor, leads: int) -> bool:
        """For all lead times at once."""
        of_clip = bytes_at_once((1, *frames.shape[1:]), leads)
        leaves_caches = frames.device.type == "cpu" and of_clip > BYTES_IN_CACHES
        return leaves_caches or len(frames) * of_clip > self.bytes_at_most

    def _one_by_one(
        self,
        frames: Tensor,
        mask: Tensor | None,
        motion: Tensor | None,
        scale: Tensor,
        out_len: int,
    ) -> Tensor:
        size = frames.shape[-2:]
        forecast = torch.empty(len(frames), out_len, 1, *size, device=frames.device)
        for number in range(len(frames)):
            one = slice(number, number + 1)
            clip = Clip(frames[one], None if mask is None else mask[one], self.calibration)
            along = clip.motion() if motion is None else motion[one]
            leads = self.network.forecasts(
                clip.frame, clip.length, along, scale[one], out_len, at_once=False
            )
            for lead, found in enumerate(leads):
                forecast[number, lead] = from_hko7(found[0, 0], self.calibration)
                del found
        return forecast


class ComovingSettings(Widths, ForecasterSettings):
    """The forecaster that moves with the rain, see `Comoving`, with its network's widths."""

    kind: Literal["comoving"] = "comoving"
    """A recurrent network that moves with the rain."""
    least_in_len: ClassVar[int] = CASCADE_FRAMES
    takes_motion: ClassVar[bool] = True
    takes_details: ClassVar[bool] = True

    @property
    def multiple(self) -> int:
        """Of its coarsest cells."""
        return MULTIPLE

    def motion(
        self,
        frames: Float[Tensor, "batch in_len 1 height width"],
        mask: Bool[Tensor, "batch in_len 1 height width"],
        calibration: Calibration,
    ) -> Float[Tensor, "batch 2 height width"]:
        """See `ForecasterSettings.motion`."""
        pixels, data = with_data(frames, mask)
        return motions(to_hko7(pixels, calibration), data)

    def build(self, in_len: int, out_len: int, calibration: Calibration | None = None) -> Comoving:
        """See `ForecasterSettings.build`."""
        return Comoving(out_len, calibration, self)

    def graph(self, model: nn.Module, in_len: int) -> Graph:
        """The network with motion as an input; see `ForecasterSettings.graph`."""
        assert isinstance(model, Comoving)
        return Graph(
            module=model.network,
            inputs={
                "frames": example_frames(in_len),
                "mask": example_mask(in_len),
                "motion": example_motion,
                "scale": example_scale,
            },
            meaning={
                "frames": "the last frames, oldest first; one without any data repeats the one "
                "before",
                "mask": "true where there is data; as the frame's where that is repeated",
                "motion": "of the rain at the last frame, pixels a step: 0 to the right, 1 down",
                "scale": "minutes a step, km a pixel; 0 where unknown",
            },
            multiple=MULTIPLE,
            zr=f"a = {HKO7_ZR_A:g}, b = {HKO7_ZR_B:g}, whatever your radar's",
            apart=RANKED,
        )

    def memory_bytes(self, shape: Sequence[int], out_len: int) -> int:
        """See `ForecasterSettings.memory_bytes`."""
        at_once = bytes_at_once(shape, out_len)
        return bytes_stepwise(shape, out_len) if at_once > BYTES_AT_MOST else at_once


def without_gaps(
    frames: Float[Tensor, "batch in_len 1 height width"],
    mask: Bool[Tensor, "batch in_len 1 height width"],
) -> tuple[
    Float[Tensor, "batch in_len 1 height width"], Bool[Tensor, "batch in_len 1 height width"]
]:
    """A frame without data repeats the one before it that has, and at the start the one after."""
    present = mask.flatten(2).any(dim=2)
    if mask.device.type == "cpu" and bool(present.all()):  # a GPU's answer would be waited for
        return frames, mask
    places = torch.arange(present.shape[1], device=mask.device)
    before = torch.where(present, places, -1).cummax(dim=1).values
    first = present.int().argmax(dim=1, keepdim=True)
    source = torch.where(before >= 0, before, first)
    clip = torch.arange(len(mask), device=mask.device)[:, None]
    return frames[clip, source], mask[clip, source]


def bytes_at_once(shape: Sequence[int], out_len: int) -> int:
    """What all lead times at once take for frames ``batch in_len 1 height width``."""
    return BYTES_A_PIXEL_AND_LEAD * (out_len + shape[1]) * shape[0] * prod(shape[-2:])


def bytes_stepwise(shape: Sequence[int], out_len: int) -> int:
    """What one of a lead time at a time takes, the forecast itself included."""
    return (BYTES_A_PIXEL + 4 * out_len * shape[0]) * prod(shape[-2:])
