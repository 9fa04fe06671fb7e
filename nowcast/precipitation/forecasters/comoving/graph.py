"""The comoving network in operations that a graph can hold for frames of any size.

`ComovingNetwork` pads where a size needs it, keeps filters by size, transforms by FFT and matches
ranks clip by clip. None of that can be traced for all sizes at once, or said in ONNX. Here padding
is arithmetic, a Fourier transform is a matrix product, and ranks are matched for a whole batch;
the network itself is the same.

Ranks are no continuous function of the rain: a difference in the last bit, as between two ways to
compute a Fourier transform, gives single pixels another of the last frame's values.
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from nowcast.precipitation.forecasters.bound import within_total
from nowcast.precipitation.forecasters.comoving.correction import (
    BANDS,
    CHANGES,
    MULTIPLE,
    bounded,
    decided,
    enlarged,
)
from nowcast.precipitation.forecasters.comoving.network import (
    ComovingNetwork,
    Widths,
    carried_to_now,
)
from nowcast.precipitation.forecasters.flow.advection import at, pixel_places
from nowcast.precipitation.forecasters.flow.cascade import (
    BAND_WIDTH,
    BINS,
    DRY_MM_H,
    LEVELS,
    WET_MM_H,
    _autoregression,
)
from nowcast.precipitation.forecasters.lagrangian import SCALES_PX
from nowcast.precipitation.units import Calibration

Side = Any  # of a frame: int, or torch.SymInt while a graph is traced
Spectrum = tuple[Tensor, Tensor]  # real and imaginary part


class ComovingGraph(ComovingNetwork):
    """`ComovingNetwork` with its weights, for tracing. Batch, height and width may be symbolic."""

    def __init__(self, network: ComovingNetwork, widths: Widths) -> None:
        super().__init__(network.out_len, widths)
        self.load_state_dict(network.state_dict())

    def forward(
        self,
        frames: Float[Tensor, "batch in_len 1 height width"],
        mask: Bool[Tensor, "batch in_len 1 height width"],
        motion: Float[Tensor, "batch 2 height width"],
    ) -> Float[Tensor, "batch out_len 1 height width"]:
        """See `ComovingNetwork.forward`."""
        height, width = frames.shape[-2:]
        down, right = short(height, MULTIPLE), short(width, MULTIPLE)
        data = functional.pad(mask.to(frames.dtype), (0, right, 0, down)) > 0
        frames = functional.pad(frames, (0, right, 0, down))
        motion = _continued(motion, height + down, width + right)
        coarse, sources = self._sources(motion, max(self.out_len, frames.shape[1] - 1))
        history = carried_to_now(frames, data, sources)
        smoothed = self._smoothed(history, data[:, -1])
        guides = self._carried(frames[:, -1], data[:, -1], smoothed, sources)
        here = pixel_places(coarse[0])
        features = torch.stack(
            [
                at(feature, here - displacement, "border")
                for feature, displacement in zip(self._features(history), coarse, strict=False)
            ]
        )
        cells = self._changes(features, guides)
        changes = enlarged(cells.flatten(0, 1)).view(self.out_len, -1, CHANGES, *data.shape[-2:])
        extrapolated, faded = guides[:, :, :1], guides[:, :, 1:2]
        forecast = faded + changes[:, :, BANDS : BANDS + 1] * faded + changes[:, :, -1:]
        for number, band in enumerate(_bands(extrapolated)):
            forecast = forecast + changes[:, :, number : number + 1] * band
        last = frames[:, -1].where(data[:, -1], 0.0)
        found = [
            within_total(
                *(
                    cut(part, height, width)
                    for part in (bounded(values, guide, lead), last, guide[:, :1])
                )
            )
            for lead, (values, guide) in enumerate(
                zip(decided(forecast).unbind(0), guides.unbind(0), strict=True), start=1
            )
        ]
        return torch.stack(found, dim=1)

    def _smoothed(self, history: Tensor, mask: Tensor) -> Tensor:
        now = history[-1][:, :1]
        newest = [part[:, :1].where(part[:, 1:] > 0, now) for part in history.flip(0)[:3]]
        return matched(cascade(newest, self.out_len, Calibration()), now, mask)


def short(side: Side, multiple: int) -> Side:
    """How many pixels a side lacks to the next multiple."""
    # torch.export takes no remainder of a negative number.
    return (side + multiple - 1) // multiple * multiple - side


def cut(frames: Tensor, height: Side, width: Side) -> Tensor:
    """The upper left of frames, as a copy: a view's strides would tell padded sizes from others."""
    rows = torch.arange(height, device=frames.device)
    columns = torch.arange(width, device=frames.device)
    return frames.index_select(-2, rows).index_select(-1, columns)


def _continued(motion: Tensor, height: Side, width: Side) -> Tensor:
    """To this size, with what is at the edge."""
    rows = torch.arange(height).clamp(max=motion.shape[-2] - 1)
    columns = torch.arange(width).clamp(max=motion.shape[-1] - 1)
    return motion.index_select(-2, rows).index_select(-1, columns)


def _bands(
    frames: Float[Tensor, "time batch 1 height width"],
) -> list[Float[Tensor, "time batch 1 height width"]]:
    """`lagrangian.bands` of frames whose sides are multiples of the largest scale."""
    whole = finer = frames.flatten(0, 1)
    found = []
    for scale in SCALES_PX:
        means = functional.avg_pool2d(whole, scale)
        smooth = functional.interpolate(means, scale_factor=float(scale), mode="bilinear")
        found.append(finer - smooth)
        finer = smooth
    return [band.view(frames.shape) for band in (*found, finer)]


def cascade(
    frames: Sequence[Float[Tensor, "batch 1 height width"]], leads: int, calibration: Calibration
) -> Float[Tensor, "leads batch 1 height width"]:
    """`cascade.cascade` without a complex number.

    What a level is after some steps is a number times what it is now and a number times what it was
    a step ago, both over the level's size then; so two spectra are enough to go on from.
    """
    wet, dry = calibration.pixel_from_rate((WET_MM_H, DRY_MM_H)).tolist()
    height, width = frames[0].shape[-2:]
    filters, constant = _filters(height, width)
    spectra = [_spectrum(frame.where(frame >= wet, dry)[:, 0]) for frame in frames[:3]]
    twice = _twice(width)

    def product(first: Spectrum, second: Spectrum) -> Float[Tensor, "batch level"]:
        real = (first[0] * second[0] + first[1] * second[1]) * twice
        return (real[:, None] * filters.square()).sum(dim=(-1, -2))

    powers = [product(part, part).clamp(min=1e-9) for part in spectra]
    one = product(spectra[0], spectra[1]) / (powers[0] * powers[1]).sqrt()
    two = product(spectra[0], spectra[2]) / (powers[0] * powers[2]).sqrt()
    first, second = _autoregression(one, two)
    size = (powers[0] / powers[1]).sqrt()
    nothing, all_of_it = torch.zeros_like(one), torch.ones_like(one)
    now, before = (all_of_it, nothing), (nothing, all_of_it)
    faded = []
    for _ in range(leads):
        now, before = (
            (first * now[0] + second * before[0], first * now[1] + second * before[1]),
            now,
        )
        of_now = (now[0][..., None, None] * filters).sum(dim=1) + constant
        of_before = ((now[1] * size)[..., None, None] * filters).sum(dim=1)
        real, imaginary = (
            of_now * spectra[0][part] + of_before * spectra[1][part] for part in (0, 1)
        )
        faded.append(_field(real, imaginary, width))
    return torch.stack(faded)[:, :, None]


def matched(
    faded: Float[Tensor, "leads batch 1 height width"],
    frame: Float[Tensor, "batch 1 height width"],
    mask: Bool[Tensor, "batch 1 height width"],
) -> Float[Tensor, "leads batch 1 height width"]:
    """`cascade.matched`, to the bit, for a whole batch."""
    values, seen = frame.flatten(1), mask.flatten(1)
    fields = faded.flatten(2)
    leads = fields.shape[0]
    known = torch.where(seen, values, torch.inf).sort(dim=1).values
    number = seen.sum(dim=1)
    low, high = fields.amin(dim=2, keepdim=True), fields.amax(dim=2, keepdim=True)
    bins = ((fields - low) / (high - low + 1e-9) * (BINS - 1)).long()
    counts = torch.zeros_like(bins[..., :1]).expand(-1, -1, BINS)
    counts = counts.scatter_add(2, bins, seen.long().expand(leads, -1, -1))
    ranks = counts.cumsum(2) - torch.div(counts + 1, 2, rounding_mode="floor")
    ranks = torch.minimum(ranks, number[:, None] - 1).clamp(min=0)
    table = known.expand(leads, -1, -1).gather(2, ranks)
    found = torch.where(number[:, None] > 0, table.gather(2, bins), values)
    return found.view(faded.shape)


def _filters(
    height: Side, width: Side
) -> tuple[Float[Tensor, "level height half"], Float[Tensor, "height half"]]:
    """The filters of the cascade's levels, and one for the mean of a frame alone."""
    rows, columns = torch.arange(height)[:, None], torch.arange(width // 2 + 1)
    rows = torch.where(2 * rows < height, rows, rows - height)
    side = torch.maximum(torch.full((), height), torch.full((), width)).float()
    wave_number = side * ((rows / height).square() + (columns / width).square()).sqrt()
    step = (side / 2).log() / LEVELS
    levels = torch.arange(LEVELS)[:, None, None]
    centres = ((step * levels).exp() + (step * (levels + 1)).exp()) / 2
    distance = wave_number.clamp(min=0.5).log() / step - centres.log() / step
    filters = torch.exp(-distance.square() / (2 * BAND_WIDTH**2))
    whole = (levels == 0) & (wave_number < centres) | (levels == LEVELS - 1) & (
        wave_number > centres
    )
    filters = torch.where(whole, 1.0, filters)
    constant = (rows == 0) & (columns == 0)
    return (filters / filters.sum(dim=0)).where(~constant, 0.0), constant.float()


def _spectrum(field: Float[Tensor, "batch height width"]) -> Spectrum:
    """`torch.fft.rfft2` as products with cosines and sines."""
    height, width = field.shape[-2:]
    across, down = _angles(width // 2 + 1, width).T, _angles(height, height)
    real, imaginary = field @ across.cos(), -(field @ across.sin())
    cosine, sine = down.cos(), down.sin()
    return cosine @ real + sine @ imaginary, cosine @ imaginary - sine @ real


def _field(real: Tensor, imaginary: Tensor, width: Side) -> Float[Tensor, "batch height width"]:
    """`torch.fft.irfft2`, likewise."""
    height = real.shape[-2]
    across, down = _angles(width // 2 + 1, width), _angles(height, height)
    cosine, sine = down.cos(), down.sin()
    real, imaginary = cosine @ real - sine @ imaginary, cosine @ imaginary + sine @ real
    weight = _twice(width)[:, None] / (height * width)
    field: Tensor = real @ (across.cos() * weight) - imaginary @ (across.sin() * weight)
    return field


def _angles(waves: Side, side: Side) -> Float[Tensor, "waves side"]:
    """The phase of each wave at each pixel; whole turns are taken off before they cost digits."""
    # A tensor, since ONNX has no remainder by a size.
    turned = torch.arange(waves)[:, None] * torch.arange(side) % torch.full((), side)
    phase: Tensor = turned.float() * (2 * torch.pi / side)
    return phase


def _twice(width: Side) -> Float[Tensor, " half"]:
    """How often each column of a half spectrum stands in the whole one."""
    columns = torch.arange(width // 2 + 1)
    return torch.where((columns == 0) | (2 * columns == width), 1.0, 2.0)
