"""Scale-dependent Lagrangian persistence: small scales of rain are forgotten first.

S-PROG (Seed 2003, doi:10.1175/1520-0450(2003)042<0381:ADASSA>2.0.CO;2) in torch operations, for a
whole batch and in frames that move with the rain.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import islice

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.compiler import is_exporting

from nowcast.precipitation.forecasters.flow.spectrum import field, spectrum, twice
from nowcast.precipitation.forecasters.graph import Side, indices
from nowcast.precipitation.units import Calibration

LEVELS = 6  # of the cascade; pysteps' default
BAND_WIDTH = 0.5  # standard deviation of a level's filter, in levels; pysteps' default
WET_MM_H = 0.1  # least rate that counts as rain
DRY_MM_H = 10**-1.5  # what less counts as in the cascade: -15 dBR, as in pysteps' examples
LARGEST_CORRELATION = 0.9995
KEPT_PX = 2**21  # filters of larger frames are made anew each time and not kept
BINS = 4096  # of a forecast's values when they are matched to those of a frame


def cascade(
    frames: Sequence[Float[Tensor, "batch 1 height width"]], leads: int, calibration: Calibration
) -> Float[Tensor, "leads batch 1 height width"]:
    """The last frame as it fades: an autoregression of order 2 for each spatial scale.

    A frame is split into `LEVELS` bands of wavelength by Gaussian filters in the logarithm of the
    wave number. Each band goes on by ``x(k+1) = f1 x(k) + f2 x(k-1)`` with coefficients from its
    own correlations over one and two steps (Yule-Walker), so that bands which change fast in the
    input fade fast.

    Args:
        frames: the last three, newest first, pixels, each carried to where the rain is now.
        leads: steps ahead.
        calibration: Z-R relation of the pixels.

    Returns:
        Smoothed frames where the rain is now: they still have to be carried to their lead time, and
        their values given back the distribution that smoothing took, by `matched`.
    """
    return torch.stack(list(islice(Fading(frames, calibration), leads)))


class Fading:
    """The frames of `cascade` one after the other, each ``batch 1 height width``.

    What a band is after some steps is a number times what it is now and a number times what it was
    a step ago, so two spectra are enough to go on from.
    """

    def __init__(
        self, frames: Sequence[Float[Tensor, "batch 1 height width"]], calibration: Calibration
    ) -> None:
        wet, dry = calibration.pixel_from_rate((WET_MM_H, DRY_MM_H)).tolist()
        self.height, self.width = frames[0].shape[-2:]
        keep = not is_exporting() and self.height * self.width <= KEPT_PX
        self._filters = (
            _kept_filters(self.height, self.width, frames[0].device)
            if keep
            else _filters(self.height, self.width, frames[0])
        )
        newest, second, third = (
            spectrum(frame.where(frame >= wet, dry)[:, 0]) for frame in frames[:3]
        )
        self._spectra = newest, second
        powers = [self._product(one, one).clamp(min=1e-9) for one in (newest, second, third)]
        one = self._product(newest, second) / (powers[0] * powers[1]).sqrt()
        two = self._product(newest, third) / (powers[0] * powers[2]).sqrt()
        self._first, self._second = _autoregression(one, two)
        self._size = (powers[0] / powers[1]).sqrt()

    def __iter__(self) -> Iterator[Float[Tensor, "batch 1 height width"]]:
        newest, second = self._spectra
        nothing, all_of_it = torch.zeros_like(self._size), torch.ones_like(self._size)
        now, before = (all_of_it, nothing), (nothing, all_of_it)
        while True:
            share, of_before = (
                self._first * old + self._second * older
                for old, older in zip(now, before, strict=True)
            )
            now, before = (share, of_before), now
            # The filters sum to one, and the mean of the frame is no scale.
            blend = self._blend(share)
            blend[:, 0, 0] = 1
            faded = blend[..., None] * newest
            faded += self._blend(of_before * self._size)[..., None] * second
            yield field(faded, self.height, self.width)[:, None]

    def _blend(self, shares: Float[Tensor, "batch level"]) -> Float[Tensor, "batch height half"]:
        blend: Tensor = torch.tensordot(shares, self._filters, dims=1)
        return blend

    def _product(self, first: Tensor, second: Tensor) -> Float[Tensor, "batch level"]:
        """Inner product of each band of two fields by their half spectra (Parseval)."""
        common = first[..., 0] * second[..., 0] + first[..., 1] * second[..., 1]
        common = common * twice(self.width, common)
        return torch.stack(
            [(common * band.square()).sum(dim=(-1, -2)) for band in self._filters], dim=1
        )


def matched(
    faded: Float[Tensor, "leads batch 1 height width"],
    frame: Float[Tensor, "batch 1 height width"],
    mask: Bool[Tensor, "batch 1 height width"],
) -> Float[Tensor, "leads batch 1 height width"]:
    """Each forecast with its values replaced, rank by rank, by those of the frame.

    So it is wet over as much area and as heavy as the frame was (probability matching). Ranks are
    those of `BINS` equal bins over the forecast's range, among unmasked pixels.
    """
    ranked = Ranked(frame, mask)
    return torch.stack([ranked.matched(field) for field in faded])


class Ranked:
    """The values of each clip's frame in their order, see `matched`.

    Ranks are no continuous function of the rain: a difference in the last bit, as between two ways
    to compute a Fourier transform, gives single pixels another of the frame's values.
    """

    def __init__(
        self,
        frame: Float[Tensor, "batch 1 height width"],
        mask: Bool[Tensor, "batch 1 height width"],
    ) -> None:
        self._frame, self._seen = frame.flatten(1), mask.flatten(1)
        self._ranked = torch.where(self._seen, self._frame, torch.inf).sort(dim=1).values
        self._number = self._seen.sum(dim=1, keepdim=True)

    def matched(
        self, field: Float[Tensor, "batch 1 height width"]
    ) -> Float[Tensor, "batch 1 height width"]:
        """A forecast with these values, rank by rank; the frame itself where it has none."""
        values = field.flatten(1)
        low, high = values.amin(dim=1, keepdim=True), values.amax(dim=1, keepdim=True)
        bins = ((values - low) / (high - low + 1e-9) * (BINS - 1)).long()
        counts = bins.new_zeros(bins.shape[0], BINS)
        counts = counts.scatter_add(1, bins, self._seen.long())
        ranks = counts.cumsum(1) - torch.div(counts + 1, 2, rounding_mode="floor")
        ranks = torch.minimum(ranks, self._number - 1).clamp(min=0)
        table = self._ranked.gather(1, ranks)
        found = torch.where(self._number > 0, table.gather(1, bins), self._frame)
        return found.view(field.shape)


def _filters(height: Side, width: Side, like: Tensor) -> Float[Tensor, "level height half"]:
    # In float64 tensors what is one number a size: a graph's sizes are no numbers.
    one = like.new_ones((), dtype=torch.float64)
    rows = indices(height, like)
    rows = torch.where(2 * rows < height, rows, rows - height) * (one / height).float()
    columns = indices(width // 2 + 1, like) * (one / width).float()
    side = torch.maximum(one * height, one * width)
    wave_number = side.float() * _hypotenuse(rows[:, None], columns[None])
    ratio = (side / 2) ** (1 / LEVELS)
    centres = [((ratio**level + ratio ** (level + 1)) / 2).float() for level in range(LEVELS)]
    base = ratio.float().log()
    logarithm = wave_number.clamp(min=0.5).log() / base
    filters = torch.stack(
        [
            torch.exp(-((logarithm - centre.log() / base) ** 2) / (2 * BAND_WIDTH**2))
            for centre in centres
        ]
    )
    filters[0] = torch.where(wave_number < centres[0], 1.0, filters[0])
    filters[-1] = torch.where(wave_number > centres[-1], 1.0, filters[-1])
    filters /= filters.sum(dim=0)
    filters[:, 0, 0] = 0
    return filters


@lru_cache(maxsize=8)
@torch.inference_mode(False)  # they outlive the mode in which they were first asked for
def _kept_filters(
    height: int, width: int, device: torch.device
) -> Float[Tensor, "level height half"]:
    return _filters(height, width, torch.empty(0, device=device))


def _hypotenuse(one: Tensor, other: Tensor) -> Tensor:
    if is_exporting():  # ONNX has none
        return (one.square() + other.square()).sqrt()
    return torch.hypot(one, other)


def _autoregression(one: Tensor, two: Tensor) -> tuple[Tensor, Tensor]:
    """Coefficients from correlations over one and two steps, kept where they are stationary."""
    one = one.clamp(0.001, LARGEST_CORRELATION)
    two = torch.minimum(two.maximum(2 * one.square() - 1 + 1e-4), one)
    first = one * (1 - two) / (1 - one.square())
    second = (two - one.square()) / (1 - one.square())
    return first, second
