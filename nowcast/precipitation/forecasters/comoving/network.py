"""A recurrent network that moves with the rain, and corrects what smoothing and motion foresee."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from nowcast.core.system.threads import one_thread
from nowcast.precipitation.forecasters.bound import within_total
from nowcast.precipitation.forecasters.cells.cell import LEAK, each
from nowcast.precipitation.forecasters.cells.convgru import ConvGRU
from nowcast.precipitation.forecasters.comoving.correction import (
    CELL_PX,
    CHANGES,
    MULTIPLE,
    SEEN_BY_NETWORK,
    bounded,
    corrected,
    enlarged,
    foreseen,
)
from nowcast.precipitation.forecasters.comoving.stepwise import bytes_at_once, stepwise
from nowcast.precipitation.forecasters.flow.advection import SEEN, at, displacements, pixel_places
from nowcast.precipitation.forecasters.flow.cascade import cascade, matched
from nowcast.precipitation.forecasters.flow.extrapolation import with_data
from nowcast.precipitation.forecasters.flow.motion import motion_field
from nowcast.precipitation.forecasters.rate_scale import from_hko7, to_hko7
from nowcast.precipitation.units import Calibration

CASCADE_FRAMES = 3
BYTES_AT_MOST = 2**30
LEAD_SCALE = 10.0  # steps; so that the lead time is a number near one


@dataclass(frozen=True)
class Widths:
    """Channels of the network.

    Args:
        stem: of a frame's features at a quarter of its resolution.
        hidden: of the recurrent states at an eighth and a sixteenth.
        guide: of what is known of each lead time, and of what the states say of it.
        head: of the two together.
    """

    stem: int = 24
    hidden: tuple[int, int] = (64, 64)
    guide: int = 32
    head: int = 48


class Comoving(nn.Module):
    """A forecast by optical flow and scale-dependent persistence, corrected by a ConvGRU network.

    Optical flow gives the motion. Along it the input frames are carried to where the rain is now,
    so that what a place saw of the past is the past of its own rain. A ConvGRU encoder reads that
    sequence, a ConvGRU forecaster goes on from it, and what it says is carried on to where the rain
    will be. There it meets two forecasts without learning, the extrapolation and S-PROG's smoothed
    one (`cascade`), and where each of them is known and where it is persistence
    (see `Extrapolation`). From all that come, pixel by pixel,

    ``forecast = smoothed + c * smoothed + sum_k a_k * band_k(extrapolation) + b``

    and whatever the weights are, no more than `bound` allows. The last layer's weights are zero
    when training begins, which therefore begins at S-PROG along optical flow.

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

    def gradient_checkpointing_enable(self, _: object = None) -> None:
        """See `EncoderForecaster`."""
        self.network.gradient_checkpointing_enable()

    def forward(
        self,
        frames: Float[Tensor, "batch in_len 1 height width"],
        mask: Bool[Tensor, "batch in_len 1 height width"] | None = None,
        motion: Float[Tensor, "batch 2 height width"] | None = None,
    ) -> Float[Tensor, "batch out_len 1 height width"]:
        """Forecast `out_len` frames, along a motion in pixels a step or, without one, along optical
        flow, which is estimated on the CPU, clip by clip.

        Without a gradient, what would take more than `bytes_at_most` is forecast a lead time at a
        time, the same to rounding; see `comoving_stepwise`.
        """
        if not torch.is_grad_enabled() and self.is_stepwise(frames.shape):
            return stepwise(self, frames, mask, motion)
        pixels, data = with_data(frames, mask)
        pixels = to_hko7(pixels, self.calibration)
        motion = motions(pixels, data) if motion is None else motion
        pixels, data = without_gaps(pixels, data)
        forecast: Tensor = self.network(pixels, data, motion)
        return from_hko7(forecast, self.calibration)

    def is_stepwise(self, shape: Sequence[int]) -> bool:
        """Whether frames of a shape, ``batch in_len 1 height width``, take too much at once."""
        return bytes_at_once(shape, self.network.out_len) > self.bytes_at_most


class ComovingNetwork(nn.Module):
    """`Comoving` where motion is known and pixels are HKO-7's: torch operations alone.

    Shape:
        frames and mask ``batch in_len 1 height width``, motion ``batch 2 height width`` in pixels a
        step -> ``batch out_len 1 height width``
    """

    def __init__(self, out_len: int, widths: Widths) -> None:
        super().__init__()
        self.out_len = out_len
        stem, (fine, coarse), guide, head = (
            widths.stem,
            widths.hidden,
            widths.guide,
            widths.head,
        )
        self.stem = _conv(2, stem, 2 * CELL_PX, CELL_PX)
        self.down = nn.ModuleList([_conv(stem, head, 3, 2), _conv(fine, coarse, 3, 2)])
        self.encoder = nn.ModuleList([ConvGRU(head, fine, 3), ConvGRU(coarse, coarse, 3)])
        # The coarse forecaster has no input; its input's weights would take part in nothing.
        idle = ConvGRU(coarse, coarse, 3)
        idle.input_conv.weight.requires_grad_(False)
        self.forecaster = nn.ModuleList([ConvGRU(fine, fine, 3), idle])
        self.up = nn.ModuleList([_deconv(fine, guide), _deconv(coarse, fine)])
        self.skip = nn.Conv2d(2 * stem, guide, 1)
        # Beyond the edge is more of the same: zeros would be dry, and rain grow beside them.
        self.guide = _conv(3, guide, 2 * CELL_PX, CELL_PX, "replicate")
        self.lead = nn.Linear(1, head)
        self.mix = nn.Conv2d(2 * guide, head, 3, padding=1, padding_mode="replicate")
        self.refine = _conv(head, head, 3, 1, "replicate")
        self.head = nn.Conv2d(head, CHANGES, 1)
        assert self.head.bias is not None
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        # Convolutions of few channels run faster with the channels innermost, on CPU and GPU.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def gradient_checkpointing_enable(self) -> None:
        """See `EncoderForecaster`."""
        for cell in (*self.encoder, *self.forecaster):
            assert isinstance(cell, ConvGRU)
            cell.recompute = True

    def forward(
        self,
        frames: Float[Tensor, "batch in_len 1 height width"],
        mask: Bool[Tensor, "batch in_len 1 height width"],
        motion: Float[Tensor, "batch 2 height width"],
    ) -> Float[Tensor, "batch out_len 1 height width"]:
        """Forecast `out_len` frames."""
        height, width = frames.shape[-2:]
        short = (0, -width % MULTIPLE, 0, -height % MULTIPLE)
        if any(short):
            frames, mask = functional.pad(frames, short), functional.pad(mask, short)
            motion = functional.pad(motion, short, mode="replicate")
        # Places and spectra need float32, whatever the convolutions are computed in.
        with torch.autocast(frames.device.type, enabled=False):
            coarse, sources = self._sources(motion, max(self.out_len, frames.shape[1] - 1))
            history = carried_to_now(frames, mask, sources)
            with torch.no_grad():
                smoothed = self._smoothed(history, mask[:, -1])
            guides = self._carried(frames[:, -1], mask[:, -1], smoothed, sources)
        features = self._features(history)
        with torch.autocast(frames.device.type, enabled=False):
            here = pixel_places(coarse[0])
            features = torch.stack(
                [
                    at(feature.float(), here - displacement, "border")
                    for feature, displacement in zip(features, coarse, strict=False)
                ]
            )
        changes = self._changes(features, guides)
        with torch.autocast(frames.device.type, enabled=False):
            last = frames[:, -1].where(mask[:, -1], 0.0)
            found = [
                within_total(
                    *(
                        part[..., :height, :width]
                        for part in (bounded(values, guide, lead), last, guide[:, :1])
                    )
                )
                for lead, (values, guide) in enumerate(
                    zip(corrected(guides, changes.float()), guides, strict=True), start=1
                )
            ]
        return torch.stack(found, dim=1)

    def _sources(self, motion: Tensor, steps: int) -> tuple[list[Tensor], list[Tensor]]:
        """Of what arrives after each number of steps: how far it has come, in cells, and where it
        is now, in pixels."""
        coarse = displacements(
            functional.avg_pool2d(motion, CELL_PX) / CELL_PX, range(1, steps + 1)
        )
        here = pixel_places(motion)
        return coarse, [here - CELL_PX * enlarged(displacement) for displacement in coarse]

    def _smoothed(self, history: Tensor, mask: Tensor) -> Tensor:
        """What is left of the rain at each lead time, where it is now."""
        now = history[-1][:, :1]
        newest = [
            part[:, :1].where(part[:, 1:] > 0, now) for part in history.flip(0)[:CASCADE_FRAMES]
        ]
        return matched(cascade(newest, self.out_len, Calibration()), now, mask)

    def _carried(
        self, last: Tensor, mask: Tensor, smoothed: Tensor, sources: Sequence[Tensor]
    ) -> Float[Tensor, "out_len batch 5 height width"]:
        """What is foreseen without learning at each lead time; see `foreseen`."""
        return torch.stack(
            [
                foreseen(last, mask, fading, source)
                for fading, source in zip(smoothed, sources, strict=False)
            ]
        )

    def _features(self, history: Tensor) -> Tensor:
        """What the recurrent states say of each lead time, on cells, where the rain is now."""
        stem = each(self.stem, history)
        fine, fine_state = self.encoder[0](each(self.down[0], stem), None, len(history))
        _, coarse_state = self.encoder[1](each(self.down[1], fine), None, len(history))
        sequence, _ = self.forecaster[1](None, coarse_state, self.out_len)
        sequence, _ = self.forecaster[0](each(self.up[1], sequence), fine_state, self.out_len)
        skipped = self.skip(torch.cat([stem[-1], stem.mean(0)], 1))
        return each(self.up[0], sequence) + skipped  # type: ignore[no-any-return]

    def _changes(
        self, features: Tensor, guides: Tensor, first: int = 1
    ) -> Float[Tensor, "leads batch changes high wide"]:
        """On cells, at the lead times from `first` on."""
        leads = torch.arange(first, first + len(guides), device=guides.device) / LEAD_SCALE
        lead = self.lead(leads[:, None])[:, None, :, None, None]
        # Large frames have no room for what is not needed any more.
        mixed = each(self.guide, guides[:, :, SEEN_BY_NETWORK])
        mixed = torch.cat([mixed, features.to(mixed.dtype)], 2)
        mixed = each(self.mix, mixed) + lead
        mixed = functional.leaky_relu(mixed, LEAK)
        mixed = each(self.refine, mixed)
        return each(self.head, mixed)


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


def without_gaps(
    frames: Float[Tensor, "batch in_len 1 height width"],
    mask: Bool[Tensor, "batch in_len 1 height width"],
) -> tuple[
    Float[Tensor, "batch in_len 1 height width"], Bool[Tensor, "batch in_len 1 height width"]
]:
    """A frame without data repeats the one before it that has, and at the start the one after."""
    present = mask.flatten(2).any(dim=2)
    if bool(present.all()):
        return frames, mask
    places = torch.arange(present.shape[1], device=mask.device)
    before = torch.where(present, places, -1).cummax(dim=1).values
    first = present.int().argmax(dim=1, keepdim=True)
    source = torch.where(before >= 0, before, first)
    clip = torch.arange(len(mask), device=mask.device)[:, None]
    return frames[clip, source], mask[clip, source]


def carried_to_now(
    frames: Float[Tensor, "batch in_len 1 height width"],
    mask: Bool[Tensor, "batch in_len 1 height width"],
    sources: Sequence[Float[Tensor, "batch 2 height width"]],
) -> Float[Tensor, "in_len batch 2 height width"]:
    """Each frame as it would look had its rain already moved to where it is now, and where that is
    known (1 or 0); dry where it is not."""
    both = torch.cat([frames.where(mask, 0.0), mask.to(frames.dtype)], dim=2)
    history = [both[:, -1]]
    for steps, source in enumerate(sources[: frames.shape[1] - 1], start=1):
        rain, weight = at(both[:, -1 - steps], source, "zeros").chunk(2, dim=1)
        known = (weight >= SEEN).to(frames.dtype)
        history.append(torch.cat([known * rain / weight.clamp(min=SEEN), known], dim=1))
    return torch.stack(history[::-1])


def _conv(
    channels_in: int,
    channels_out: int,
    kernel: int,
    stride: int,
    beyond: Literal["zeros", "replicate"] = "zeros",
) -> nn.Module:
    padding = (kernel - stride + 1) // 2
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, kernel, stride, padding, padding_mode=beyond),
        nn.LeakyReLU(LEAK, inplace=True),
    )


def _deconv(channels_in: int, channels_out: int) -> nn.Module:
    return nn.Sequential(
        nn.ConvTranspose2d(channels_in, channels_out, 4, 2, 1), nn.LeakyReLU(LEAK, inplace=True)
    )
