"""The comoving forecast of large frames: one input frame and one lead time at a time.

`ComovingNetwork` keeps every frame, lead time and channel of its way, 0.1 KiB a pixel and lead
time; a composite of Europe would take 20 GiB. Without a gradient nothing of it is needed for longer
than a step. The sums are the same, so the forecast is, to rounding.
"""

from collections.abc import Callable, Iterator, Sequence
from math import prod
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor
from torch.nn import functional

from nowcast.core.system.threads import one_thread
from nowcast.precipitation.forecasters.bound import within_total
from nowcast.precipitation.forecasters.cells.cell import State
from nowcast.precipitation.forecasters.comoving.correction import (
    CELL_PX,
    MULTIPLE,
    bounded,
    corrected,
    enlarged,
    foreseen,
)
from nowcast.precipitation.forecasters.flow.advection import SEEN, at, displacements, pixel_places
from nowcast.precipitation.forecasters.flow.cascade import Fading, Ranked
from nowcast.precipitation.forecasters.flow.extrapolation import with_data
from nowcast.precipitation.forecasters.flow.motion import motion_field
from nowcast.precipitation.forecasters.rate_scale import from_hko7, to_hko7
from nowcast.precipitation.units import PIXEL_LEVELS, Calibration

if TYPE_CHECKING:
    from nowcast.precipitation.forecasters.comoving.network import Comoving, ComovingNetwork

# Measured on 4400x3800 frames, 10 -> 10 and 5 -> 20; on top of input and forecast.
BYTES_A_PIXEL_AND_LEAD = 110
BYTES_A_PIXEL = 160
FLOW_FRAMES = 3  # that motion is estimated from

Source = Callable[[int], Tensor]  # steps -> column and row that what arrives has come from


def bytes_at_once(shape: Sequence[int], out_len: int) -> int:
    """What `ComovingNetwork` takes for frames of this shape, ``batch in_len 1 height width``."""
    return BYTES_A_PIXEL_AND_LEAD * (out_len + shape[1]) * shape[0] * prod(shape[-2:])


def bytes_stepwise(shape: Sequence[int], out_len: int) -> int:
    """What `stepwise` takes, the forecast itself included."""
    return (BYTES_A_PIXEL + 4 * out_len * shape[0]) * prod(shape[-2:])


def stepwise(
    model: "Comoving",
    frames: Float[Tensor, "batch in_len 1 height width"]
    | UInt8[Tensor, "batch in_len 1 height width"],
    mask: Bool[Tensor, "batch in_len 1 height width"] | None,
    motion: Float[Tensor, "batch 2 height width"] | None = None,
) -> Float[Tensor, "batch out_len 1 height width"]:
    """As `Comoving.forward`; frames may be 8-bit levels too.

    Raises:
        ValueError: a pixel with data is not a number.
    """
    network = model.network
    size = frames.shape[-2:]
    forecast = torch.empty(len(frames), network.out_len, 1, *size, device=frames.device)
    for clip in range(len(frames)):
        known = None if mask is None else mask[clip : clip + 1]
        inputs = _Clip(frames[clip : clip + 1], known, model.calibration)
        along = inputs.motion() if motion is None else motion[clip : clip + 1]
        for lead, found in enumerate(_leads(network, inputs, along)):
            forecast[clip, lead] = from_hko7(found, model.calibration)[0]
            del found
    return forecast


class _Clip:
    """The input frames of one clip, made ready one at a time.

    Args:
        frames: as `stepwise` has them.
        mask: True where there is data; None is everywhere.
        calibration: of the frames.
    """

    def __init__(self, frames: Tensor, mask: Tensor | None, calibration: Calibration) -> None:
        self._frames, self._mask, self._calibration = frames, mask, calibration
        self.length = frames.shape[1]
        self.height, self.width = frames.shape[-2:]
        present = [True] * self.length
        if mask is not None:
            present = [bool(mask[:, time].any()) for time in range(self.length)]
        self._present = [time for time, there in enumerate(present) if there]
        self._source = [self._nearest(time) for time in range(self.length)]

    def _nearest(self, time: int) -> int:
        """The frame that stands for one without data, as `without_gaps` has it."""
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
        padding = (0, -self.width % MULTIPLE, 0, -self.height % MULTIPLE)
        pixels, data = self._one(self._source[time])
        return functional.pad(pixels, padding), functional.pad(data, padding)

    def motion(self) -> Float[Tensor, "1 2 height width"]:
        """At the last frame, as `motions` has it: it sees the last frames with data alone."""
        first = self._present[-FLOW_FRAMES:][0] if self._present else self.length - 1
        frames = [self._one(time) for time in range(first, self.length)]
        pixels, data = (torch.cat(parts)[:, 0].cpu().numpy() for parts in zip(*frames, strict=True))
        with one_thread():
            found = motion_field(pixels, data)
        return torch.from_numpy(np.ascontiguousarray(found))[None].to(self._frames.device)


def _leads(
    network: "ComovingNetwork", clip: _Clip, motion: Float[Tensor, "1 2 height width"]
) -> Iterator[Float[Tensor, "1 1 height width"]]:
    device = next(network.parameters()).device.type
    with torch.autocast(device, enabled=False):
        padding = (0, -clip.width % MULTIPLE, 0, -clip.height % MULTIPLE)
        if any(padding):
            motion = functional.pad(motion, padding, mode="replicate")
        steps = max(network.out_len, clip.length - 1)
        coarse = displacements(
            functional.avg_pool2d(motion, CELL_PX) / CELL_PX, range(1, steps + 1)
        )
        del motion

    def source(steps: int) -> Tensor:
        far = CELL_PX * enlarged(coarse[steps - 1])
        return pixel_places(far) - far

    states, skipped, newest = _encoded(network, clip, source)
    last, mask = clip.frame(clip.length - 1)
    with torch.autocast(device, enabled=False):
        fading = iter(Fading(newest, Calibration()))
        del newest
        ranked = Ranked(last[0, 0], mask[0, 0])
    here = pixel_places(coarse[0])
    inside = (..., slice(clip.height), slice(clip.width))
    for lead in range(1, network.out_len + 1):
        sequence, states[1] = network.forecaster[1](None, states[1], 1)
        sequence, states[0] = network.forecaster[0](network.up[1](sequence[0])[None], states[0], 1)
        feature = network.up[0](sequence[0]) + skipped
        with torch.autocast(device, enabled=False):
            feature = at(feature.float(), here - coarse[lead - 1], "border")
            faded = ranked.matched(next(fading)[0, 0])[None, None]
            guide = foreseen(last, mask, faded, source(lead))
            del faded
        changes = network._changes(feature[None], guide[None], lead)
        with torch.autocast(device, enabled=False):
            found = bounded(corrected(guide[None], changes.float())[0], guide, lead)
            found = within_total(found[inside], last.where(mask, 0.0)[inside], guide[:, :1][inside])
        del guide, changes, feature  # before the next ones are made
        yield found
        del found


def _encoded(
    network: "ComovingNetwork", clip: _Clip, source: Source
) -> tuple[list[State], Tensor, list[Tensor]]:
    """The states that the forecast goes on from, what skips them, and the frames to fade, newest
    first."""
    device = next(network.parameters()).device.type
    states: list[State | None] = [None, None]
    total: Tensor | None = None
    newest: list[Tensor] = []
    now, _ = clip.frame(clip.length - 1)
    for time in range(clip.length):
        with torch.autocast(device, enabled=False):
            part = _carried(clip, time, source)
            if clip.length - time <= 3:
                newest.insert(0, part[:, :1].where(part[:, 1:] > 0, now))
        stem = network.stem(part)
        total = stem if total is None else total + stem
        fine, states[0] = network.encoder[0](network.down[0](stem)[None], states[0], 1)
        _, states[1] = network.encoder[1](network.down[1](fine[0])[None], states[1], 1)
    assert total is not None
    skipped = network.skip(torch.cat([stem, total / clip.length], 1))
    return [state for state in states if state is not None], skipped, newest


def _carried(clip: _Clip, time: int, source: Source) -> Tensor:
    """`carried_to_now` of one frame."""
    pixels, data = clip.frame(time)
    both = torch.cat([pixels.where(data, 0.0), data.to(pixels.dtype)], dim=1)
    steps = clip.length - 1 - time
    if not steps:
        return both
    rain, weight = at(both, source(steps), "zeros").chunk(2, dim=1)
    known = (weight >= SEEN).to(pixels.dtype)
    return torch.cat([known * rain / weight.clamp(min=SEEN), known], dim=1)
