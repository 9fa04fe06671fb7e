"""The network that moves with the rain, from frames and their motion to forecasts.

One implementation for training (all lead times at once), for large frames (one input frame and one
lead time at a time, the same to rounding) and for `torch.export` (frames of any size).
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.compiler import is_exporting
from torch.nn import functional

from nowcast.core.settings import Count, Section
from nowcast.precipitation.forecasters.bound import bounded
from nowcast.precipitation.forecasters.cells.cell import LEAK, State, each
from nowcast.precipitation.forecasters.cells.convgru import ConvGRU
from nowcast.precipitation.forecasters.comoving.correction import (
    CELL_PX,
    CHANGES,
    KNOWN,
    MULTIPLE,
    SEEN_BY_NETWORK,
    corrected,
    enlarged,
    foreseen,
)
from nowcast.precipitation.forecasters.flow.advection import SEEN, at, displacements, pixel_places
from nowcast.precipitation.forecasters.flow.cascade import Fading, Ranked
from nowcast.precipitation.forecasters.graph import Side, cut, lacking
from nowcast.precipitation.units import Calibration

CASCADE_FRAMES = 3
LEAD_SCALE = 10.0  # steps; so that the lead time is a number near one

Frame = Callable[[int], tuple[Tensor, Tensor]]
"""Time -> pixels and data, ``batch 1 high wide``, padded to multiples of `MULTIPLE`."""
Source = Callable[[int], Tensor]
"""Steps -> column and row that what arrives after so many has come from, ``batch 2 high wide``."""


class Widths(Section):
    """Channels of the network."""

    stem: Count = 24
    """Of a frame's features at a quarter of its resolution."""
    hidden: tuple[Count, Count] = (64, 64)
    """Of the recurrent states at an eighth and a sixteenth."""
    guide: Count = 32
    """Of what is known of each lead time, and of what the states say of it."""
    head: Count = 48
    """Of the two together."""


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
        frames, mask = padded(frames), padded(mask)
        (forecast,) = self.forecasts(
            lambda time: (frames[:, time], mask[:, time]), frames.shape[1], motion, at_once=True
        )
        return forecast.transpose(0, 1)

    def forecasts(
        self,
        frame: Frame,
        in_len: int,
        motion: Float[Tensor, "batch 2 height width"],
        at_once: bool,
    ) -> Iterator[Float[Tensor, "leads batch 1 height width"]]:
        """All lead times together, or each alone: then nothing is kept for longer than a step.

        Args:
            frame: the input frames, by their time from 0 to `in_len` - 1.
            in_len: how many.
            motion: in pixels a step.
            at_once: whether all frames and lead times are in memory together.
        """
        height, width = motion.shape[-2:]
        # Positions and spectra need float32, whatever the convolutions are computed in.
        with float32(motion.device.type):
            coarse, source = self._motion(motion, max(self.out_len, in_len - 1), at_once)
        last, mask = frame(in_len - 1)
        now = last.where(mask, 0.0)
        newest: list[Tensor] = []
        history = self._history(frame, in_len, source, now, newest)
        fine, coarser, skipped = self._encoded(
            [torch.stack(list(history))] if at_once else (part[None] for part in history), in_len
        )
        with float32(motion.device.type), torch.no_grad():
            fading = iter(Fading(newest, Calibration()))
            newest.clear()
            ranked = Ranked(now, mask)
        here = pixel_places(coarse[0])
        at_a_time = self.out_len if at_once else 1
        for first in range(1, self.out_len + 1, at_a_time):
            leads = range(first, first + at_a_time)
            sequence, coarser = self.forecaster[1](None, coarser, at_a_time)
            sequence, fine = self.forecaster[0](each(self.up[1], sequence), fine, at_a_time)
            features = each(self.up[0], sequence) + skipped
            with float32(motion.device.type):
                features = torch.stack(
                    [
                        at(feature.float(), here - coarse[lead - 1], "border")
                        for feature, lead in zip(features, leads, strict=True)
                    ]
                )
                with torch.no_grad():
                    faded = [ranked.matched(next(fading)) for _ in leads]
                guides = torch.stack(
                    [foreseen(last, mask, faded.pop(0), source(lead)) for lead in leads]
                )
            changes = self._changes(features, guides, first)
            with float32(motion.device.type):
                forecast = torch.stack(
                    [
                        _bounded(values, guide, now, lead, (height, width))
                        for values, guide, lead in zip(
                            corrected(guides, changes.float()), guides, leads, strict=True
                        )
                    ]
                )
            del features, guides, changes  # before the next are made
            yield forecast
            del forecast

    def _motion(self, motion: Tensor, steps: int, keep: bool) -> tuple[list[Tensor], Source]:
        """How far what arrives after each number of steps has come, in cells; and where it is now,
        in pixels."""
        coarse = displacements(
            functional.avg_pool2d(continued(motion), CELL_PX) / CELL_PX, range(1, steps + 1)
        )

        def source(steps: int) -> Tensor:
            far = CELL_PX * enlarged(coarse[steps - 1])
            return pixel_places(far) - far

        return coarse, cache(source) if keep else source

    def _history(
        self, frame: Frame, in_len: int, source: Source, now: Tensor, newest: list[Tensor]
    ) -> Iterator[Float[Tensor, "batch 2 height width"]]:
        """Each frame as it would look had its rain already moved to where it is now, and where that
        is known (1 or 0); dry where it is not. The last frames' rain goes into `newest`."""
        for time in range(in_len):
            with float32(now.device.type):
                part = _carried(*frame(time), source, in_len - 1 - time)
                if in_len - time <= CASCADE_FRAMES:
                    newest.insert(0, part[:, :1].where(part[:, 1:] > 0, now))
            yield part
            del part

    def _encoded(
        self, history: Iterator[Tensor] | list[Tensor], in_len: int
    ) -> tuple[State, State, Tensor]:
        """The fine and the coarse state that the forecast goes on from, and what skips them; from
        parts of the history."""
        fine = coarse = total = None
        for part in history:
            stem = each(self.stem, part)
            hidden, fine = self.encoder[0](each(self.down[0], stem), fine, len(part))
            _, coarse = self.encoder[1](each(self.down[1], hidden), coarse, len(part))
            if len(part) == in_len:
                mean = stem.mean(0)
            else:
                total = stem[0] if total is None else total + stem[0]
                mean = total / in_len
        assert fine is not None and coarse is not None
        return fine, coarse, self.skip(torch.cat([stem[-1], mean], 1))

    def _changes(
        self, features: Tensor, guides: Tensor, first: int
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


def _carried(
    pixels: Float[Tensor, "batch 1 height width"],
    data: Bool[Tensor, "batch 1 height width"],
    source: Source,
    steps: int,
) -> Float[Tensor, "batch 2 height width"]:
    """A frame that is so many steps old, see `ComovingNetwork._history`."""
    both = torch.cat([pixels.where(data, 0.0), data.to(pixels.dtype)], dim=1)
    if not steps:
        return both
    rain, weight = at(both, source(steps), "zeros").chunk(2, dim=1)
    known = (weight >= SEEN).to(pixels.dtype)
    return torch.cat([known * rain / weight.clamp(min=SEEN), known], dim=1)


def _bounded(
    values: Tensor, guide: Tensor, now: Tensor, lead: int, size: tuple[Side, Side]
) -> Float[Tensor, "batch 1 height width"]:
    """A forecast of padded frames cut to its size, within `bound.bounded`."""
    unlearned = guide[:, :2].amax(dim=1, keepdim=True)
    forecast, last, extrapolated = (cut(part, *size) for part in (values, now, guide[:, :1]))
    return bounded(forecast, unlearned, guide[:, KNOWN] > 0, last, extrapolated, lead)


def padded(frames: Float[Tensor, "*shape"] | Bool[Tensor, "*shape"]) -> Tensor:
    """Frames with dry pixels without data below and to the right, so that cells fill them."""
    down, right = (lacking(side, MULTIPLE) for side in frames.shape[-2:])
    if is_exporting():  # for frames of any size; ONNX pads no booleans
        wide = functional.pad(frames.float(), (0, right, 0, down))
        return wide > 0 if frames.dtype is torch.bool else wide
    return functional.pad(frames, (0, right, 0, down)) if down or right else frames


def continued(motion: Tensor) -> Tensor:
    """Motion as `padded` frames, with what is at the edge."""
    sides = motion.shape[-2:]
    if not is_exporting() and not any(lacking(side, MULTIPLE) for side in sides):
        return motion
    for axis, side in zip((-2, -1), sides, strict=True):
        index = torch.arange(side + lacking(side, MULTIPLE), device=motion.device)
        motion = motion.index_select(axis, index.clamp(max=side - 1))
    return motion


def float32(device: str) -> AbstractContextManager[object]:
    """Without autocast; nothing at all where there is none, as in a graph."""
    if torch.is_autocast_enabled(device):
        return torch.autocast(device, enabled=False)
    return nullcontext()


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
