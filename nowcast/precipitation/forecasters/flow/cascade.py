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
        large = self.height * self.width > KEPT_PX
        make = _filters.__wrapped__ if large else _filters
        self._filters = make(self.height, self.width, frames[0].device)
        newest, second, third = (
            torch.fft.rfft2(frame.where(frame >= wet, dry)[:, 0]) for frame in frames[:3]
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
            spectrum = self._blend(share) * newest
            spectrum[:, 0, 0] = newest[:, 0, 0]
            spectrum += self._blend(of_before * self._size) * second
            yield torch.fft.irfft2(spectrum, s=(self.height, self.width))[:, None]

    def _blend(self, shares: Float[Tensor, "batch level"]) -> Float[Tensor, "batch height half"]:
        blend: Tensor = torch.tensordot(shares, self._filters, dims=1)
        return blend

    def _product(self, first: Tensor, second: Tensor) -> Float[Tensor, "batch level"]:
        """Inner product of each band of two fields by their half spectra (Parseval)."""
        common = (first * second.conj()).real
        twice = torch.full((common.shape[-1],), 2.0, device=common.device)
        twice[0] = 1
        if self.width % 2 == 0:
            twice[-1] = 1
        common = common * twice
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
    found = torch.empty_like(faded)
    for clip, (values, seen) in enumerate(zip(frame[:, 0], mask[:, 0], strict=True)):
        ranked = Ranked(values, seen)
        for lead, field in enumerate(faded[:, clip, 0]):
            found[lead, clip, 0] = ranked.matched(field)
    return found


class Ranked:
    """The values of one frame in their order, see `matched`."""

    def __init__(
        self, values: Float[Tensor, "height width"], seen: Bool[Tensor, "height width"]
    ) -> None:
        self._values, self._seen = values, seen
        self._all_seen = bool(seen.all())
        self._ranked = (values if self._all_seen else values[seen]).flatten().sort().values

    def matched(self, field: Float[Tensor, "height width"]) -> Float[Tensor, "height width"]:
        """A forecast with these values, rank by rank."""
        if not len(self._ranked):
            return self._values
        low, high = field.aminmax()
        bins = ((field - low) / (high - low + 1e-9) * (BINS - 1)).int()
        known = bins.flatten() if self._all_seen else bins[self._seen]
        counts = torch.bincount(known, minlength=BINS)
        ranks = counts.cumsum(0) - (counts + 1) // 2
        return self._ranked[ranks.clamp(0, len(self._ranked) - 1)][bins]


@lru_cache(maxsize=8)
@torch.inference_mode(False)  # they outlive the mode in which they were first asked for
def _filters(height: int, width: int, device: torch.device) -> Float[Tensor, "level height half"]:
    rows = torch.fft.fftfreq(height, device=device)[:, None]
    columns = torch.fft.rfftfreq(width, device=device)[None]
    side = max(height, width)
    wave_number = side * torch.hypot(rows, columns)
    ratio = (side / 2) ** (1 / LEVELS)
    centres = [(ratio**level + ratio ** (level + 1)) / 2 for level in range(LEVELS)]
    logarithm = wave_number.clamp(min=0.5).log() / torch.log(torch.tensor(ratio))
    filters = torch.stack(
        [
            torch.exp(
                -((logarithm - torch.tensor(centre).log() / torch.tensor(ratio).log()) ** 2)
                / (2 * BAND_WIDTH**2)
            )
            for centre in centres
        ]
    )
    filters[0][wave_number < centres[0]] = 1
    filters[-1][wave_number > centres[-1]] = 1
    filters /= filters.sum(dim=0)
    filters[:, 0, 0] = 0
    return filters


def _autoregression(one: Tensor, two: Tensor) -> tuple[Tensor, Tensor]:
    """Coefficients from correlations over one and two steps, kept where they are stationary."""
    one = one.clamp(0.001, LARGEST_CORRELATION)
    two = torch.minimum(two.maximum(2 * one.square() - 1 + 1e-4), one)
    first = one * (1 - two) / (1 - one.square())
    second = (two - one.square()) / (1 - one.square())
    return first, second
