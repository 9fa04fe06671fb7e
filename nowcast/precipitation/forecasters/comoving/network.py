"""The network that moves with the rain, from frames and their motion to forecasts.

One implementation for training (all lead times at once), for large frames (one input frame and one
lead time at a time, the same to rounding) and for `torch.export` (frames of any size).
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.compiler import is_exporting
from torch.nn import functional

from nowcast.core.settings import Count, Section
from nowcast.precipitation.forecasters.bound import bounded
from nowcast.precipitation.forecasters.cells.cell import LEAK, State, each
from nowcast.precipitation.forecasters.cells.convgru import ConvGRU
from nowcast.precipitation.forecasters.comoving.circumstances import NUMBERS, USUAL_MINUTES
from nowcast.precipitation.forecasters.comoving.correction import (
    CELL_PX,
    CHANGES,
    GAIN,
    KNOWN,
    MULTIPLE,
    NEARBY,
    SEEN_BY_NETWORK,
    UNLEARNED,
    Correction,
    enlarged,
    foreseen,
    highest,
)
from nowcast.precipitation.forecasters.comoving.past import Past, Source, carried
from nowcast.precipitation.forecasters.flow.advection import at, displacements, pixel_places
from nowcast.precipitation.forecasters.flow.cascade import Fading, Ranked
from nowcast.precipitation.forecasters.graph import Side, cut, indices, lacking
from nowcast.precipitation.units import Calibration

KEPT_BYTES = 2**25  # of where pixels have come from, which both the past and the forecast need
LEADS = 4  # numbers that say a lead time
LEAD_STEPS, LEAD_MINUTES = 10.0, 60.0  # so that they are near one

Frame = Callable[[int], tuple[Tensor, Tensor]]
"""Time -> pixels and data, ``batch 1 high wide``, padded to multiples of `MULTIPLE`."""


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
    circumstances: Count = 64
    """Of what holds for a whole clip and lead time."""
    pixel: Count = 24
    """Of what pixels and cells say of each pixel."""


class Step(NamedTuple):
    """Some lead times, from the network to forecasts."""

    leads: range
    guides: Float[Tensor, "leads batch 7 height width"]
    """See `foreseen`."""
    changes: Float[Tensor, "leads batch changes high wide"]
    """What the cells say; see `Correction`."""
    circumstances: Float[Tensor, "leads batch inner"]
    """What holds for the whole clip."""
    come: list[Float[Tensor, "batch 2 high wide"]]
    """For each lead time how far what arrives has come, cells."""
    now: Float[Tensor, "batch 1 height width"]
    """The newest frame."""


class ComovingNetwork(nn.Module):
    """`Comoving` where motion is known and pixels are HKO-7's: torch operations alone.

    Args:
        out_len: frames to forecast.
        widths: its channels.
        more: numbers that cells say beside those that `Correction` takes.

    Shape:
        frames and mask ``batch in_len 1 height width``, motion ``batch 2 height width`` in pixels a
        step, scale ``batch 2`` (minutes a step, km a pixel, 0 where unknown) -> ``batch out_len 1
        height width``
    """

    def __init__(self, out_len: int, widths: Widths, more: int = 0) -> None:
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
        self.guide = _conv(1 + UNLEARNED, guide, 2 * CELL_PX, CELL_PX, "replicate")
        # What holds for a whole clip and lead time turns up and down what the cells say.
        inner = widths.circumstances
        self.circumstances = nn.Sequential(
            nn.Linear(NUMBERS + LEADS, inner),
            nn.LeakyReLU(LEAK),
            nn.Linear(inner, inner),
            nn.LeakyReLU(LEAK),
        )
        self.turned = nn.Linear(inner, 4 * head)
        self.everywhere = nn.Linear(inner, CHANGES + widths.pixel + more)
        self.mix = nn.Conv2d(2 * guide + NEARBY, head, 3, padding=1, padding_mode="replicate")
        self.refine = _conv(head, head, 3, 1, "replicate")
        self.head = nn.Conv2d(head + NEARBY, CHANGES + widths.pixel + more, 1)
        self.correction = Correction(widths.pixel)
        for layer in (self.head, self.everywhere):
            assert layer.bias is not None
            nn.init.zeros_(layer.weight[:CHANGES])
            nn.init.zeros_(layer.bias[:CHANGES])
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
        scale: Float[Tensor, "batch 2"],
        out_len: int | None = None,
    ) -> Float[Tensor, "batch out_len 1 height width"]:
        """Forecast `out_len` frames; None: as many as it was built for."""
        frames, mask = padded(frames), padded(mask)
        (forecast,) = self.forecasts(
            lambda time: (frames[:, time], mask[:, time]),
            frames.shape[1],
            motion,
            scale,
            self.out_len if out_len is None else out_len,
            at_once=True,
        )
        return forecast.transpose(0, 1)

    def forecasts(
        self,
        frame: Frame,
        in_len: int,
        motion: Float[Tensor, "batch 2 height width"],
        scale: Float[Tensor, "batch 2"],
        out_len: int,
        at_once: bool,
    ) -> Iterator[Float[Tensor, "leads batch 1 height width"]]:
        """All lead times together, or each alone: then nothing is kept for longer than a step.

        Args:
            frame: the input frames, by their time from 0 to `in_len` - 1.
            in_len: how many.
            motion: in pixels a step.
            scale: minutes a step and km a pixel, 0 where unknown.
            out_len: how many frames to forecast.
            at_once: whether all frames and lead times are in memory together.
        """
        height, width = motion.shape[-2:]
        for step in self.steps(frame, in_len, motion, scale, out_len, at_once):
            with float32(motion.device.type):
                forecast = torch.stack(
                    [
                        bounded_to(
                            self.correction(guide, change), guide, step.now, lead, (height, width)
                        )
                        for guide, change, lead in zip(
                            step.guides, step.changes, step.leads, strict=True
                        )
                    ]
                )
            del step  # before the next is made
            yield forecast
            del forecast

    def steps(
        self,
        frame: Frame,
        in_len: int,
        motion: Float[Tensor, "batch 2 height width"],
        scale: Float[Tensor, "batch 2"],
        out_len: int,
        at_once: bool,
    ) -> Iterator["Step"]:
        """What forecasts are made of; see `forecasts`."""
        # Positions and spectra need float32, whatever the convolutions are computed in.
        with float32(motion.device.type):
            coarse, source = self._motion(motion, max(out_len, in_len - 1), at_once)
        last, mask = frame(in_len - 1)
        now = last.where(mask, 0.0)
        past = Past(now, mask, in_len)
        history = self._history(frame, in_len, source, past)
        fine, coarser, skipped = self._encoded(
            [torch.stack(list(history))] if at_once else (part[None] for part in history), in_len
        )
        with float32(motion.device.type), torch.no_grad():
            clip = past.circumstances.numbers(scale)
            fading = iter(Fading(past.newest, Calibration()))
            mean = past.mean()
            del past
            ranked = Ranked(now, mask)
        here = pixel_places(coarse[0])
        at_a_time = out_len if at_once else 1
        for first in range(1, out_len + 1, at_a_time):
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
                    [foreseen(last, mask, faded.pop(0), mean, source(lead)) for lead in leads]
                )
                clip_and_lead = self.circumstances(_with_leads(clip, scale, leads))
            changes = self._changes(features, guides, clip_and_lead).float()
            come = [coarse[lead - 1] for lead in leads]
            del features
            step = Step(leads, guides, changes, clip_and_lead, come, now)
            del guides, changes  # before the next are made
            yield step
            del step

    def _motion(self, motion: Tensor, steps: int, keep: bool) -> tuple[list[Tensor], Source]:
        """How far what arrives after each number of steps has come, in cells; and where it is now,
        in pixels."""
        coarse = displacements(
            functional.avg_pool2d(continued(motion), CELL_PX) / CELL_PX, range(1, steps + 1)
        )

        def source(steps: int) -> Tensor:
            far = CELL_PX * enlarged(coarse[steps - 1])
            return pixel_places(far) - far

        is_little = steps * motion.numel() * motion.element_size() <= KEPT_BYTES
        return coarse, cache(source) if keep or is_little else source

    def _history(
        self, frame: Frame, in_len: int, source: Source, past: Past
    ) -> Iterator[Float[Tensor, "batch 2 height width"]]:
        """Each frame as it would look had its rain already moved to where it is now, and where that
        is known (1 or 0); dry where it is not. They go into `past` too."""
        for time in range(in_len):
            with float32(past.now.device.type):
                part = carried(*frame(time), source, in_len - 1 - time)
                past.add(part, in_len - 1 - time)
            yield part
            del part

    def _encoded(
        self, history: Iterator[Tensor] | list[Tensor], in_len: int
    ) -> tuple[State, State, Tensor]:
        """The fine and the coarse state that the forecast goes on from, and what skips them; from
        parts of the history."""
        fine = coarse = total = None
        for part in history:
            stem = each(self.stem, GAIN * part)
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
        self, features: Tensor, guides: Tensor, circumstances: Float[Tensor, "leads batch inner"]
    ) -> Float[Tensor, "leads batch changes high wide"]:
        """On cells, at these lead times."""
        turned = self.turned(circumstances)[..., None, None].chunk(4, dim=2)
        # Large frames have no room for what is not needed any more.
        mixed = each(self.guide, GAIN * guides[:, :, SEEN_BY_NETWORK])
        near = torch.stack([highest(guide[:, UNLEARNED : 2 * UNLEARNED]) for guide in guides])
        near = near.to(mixed.dtype)
        mixed = torch.cat([mixed, features.to(mixed.dtype), near], 2)
        mixed = torch.addcmul(turned[0], each(self.mix, mixed), 1 + turned[1])
        mixed = functional.leaky_relu(mixed, LEAK)
        mixed = torch.addcmul(turned[2], each(self.refine, mixed), 1 + turned[3])
        changes: Tensor = self.everywhere(circumstances)[..., None, None]
        return changes + each(self.head, torch.cat([mixed, near], 2))


def _with_leads(
    clip: Float[Tensor, "batch numbers"], scale: Float[Tensor, "batch 2"], leads: range
) -> Float[Tensor, "leads batch numbers_and_leads"]:
    """What a clip is described by, with each lead time: in steps, two ways, and in minutes."""
    steps = (leads.start + leads.step * indices(len(leads), clip)).to(clip.dtype)[:, None, None]
    steps = steps.expand(-1, clip.shape[0], 1)  # len() would fix the size in a graph
    minutes = torch.where(scale[:, :1] > 0, scale[:, :1], USUAL_MINUTES)
    lead = [steps / LEAD_STEPS, steps.log() / 2, 1 / steps, steps * minutes / LEAD_MINUTES]
    return torch.cat([clip.expand(len(leads), -1, -1), *lead], dim=2)


def bounded_to(
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
        index = indices(side + lacking(side, MULTIPLE), motion)
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
