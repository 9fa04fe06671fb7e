"""Scale-dependent Lagrangian persistence: small scales of rain are forgotten first.

S-PROG (Seed 2003, doi:10.1175/1520-0450(2003)042<0381:ADASSA>2.0.CO;2) in torch operations, for a
whole batch and in frames that move with the rain.
"""

from collections.abc import Sequence
from functools import lru_cache

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from nowcast.precipitation.units import Calibration

LEVELS = 6  # of the cascade; pysteps' default
BAND_WIDTH = 0.5  # standard deviation of a level's filter, in levels; pysteps' default
WET_MM_H = 0.1  # least rate that counts as rain
DRY_MM_H = 10**-1.5  # what less counts as in the cascade: -15 dBR, as in pysteps' examples
LARGEST_CORRELATION = 0.9995
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
    wet, dry = calibration.pixel_from_rate((WET_MM_H, DRY_MM_H)).tolist()
    height, width = frames[0].shape[-2:]
    filters = _filters(height, width, frames[0].device)
    spectra = [torch.fft.rfft2(frame.where(frame >= wet, dry)[:, 0]) for frame in frames[:3]]
    # The filters sum to one, and the mean of the frame is no scale.
    mean = spectra[0][:, :1, :1]
    bands = [spectrum[:, None] * filters for spectrum in spectra]
    powers = [_product(band, band, width).clamp(min=1e-9) for band in bands]
    now, before = (
        band / power.sqrt()[..., None, None]
        for band, power in zip(bands[:2], powers[:2], strict=True)
    )
    one = _product(bands[0], bands[1], width) / (powers[0] * powers[1]).sqrt()
    two = _product(bands[0], bands[2], width) / (powers[0] * powers[2]).sqrt()
    first, second = _autoregression(one, two)
    amplitude = powers[0].sqrt()[..., None, None]
    faded = []
    for _ in range(leads):
        now, before = first * now + second * before, now
        spectrum = (amplitude * now).sum(dim=1)
        spectrum = spectrum + torch.nn.functional.pad(
            mean, (0, spectrum.shape[-1] - 1, 0, height - 1)
        )
        faded.append(torch.fft.irfft2(spectrum, s=(height, width)))
    return torch.stack(faded)[:, :, None]


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
        known = values[seen].sort().values
        for lead, field in enumerate(faded[:, clip, 0]):
            if not len(known):
                found[lead, clip, 0] = values
                continue
            low, high = field.aminmax()
            bins = ((field - low) / (high - low + 1e-9) * (BINS - 1)).long()
            counts = torch.bincount(bins[seen], minlength=BINS)
            ranks = counts.cumsum(0) - (counts + 1) // 2
            found[lead, clip, 0] = known[ranks.clamp(0, len(known) - 1)][bins]
    return found


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


def _product(first: Tensor, second: Tensor, width: int) -> Float[Tensor, "batch level"]:
    """Inner product of real fields by their half spectra (Parseval)."""
    twice = torch.full((first.shape[-1],), 2.0, device=first.device)
    twice[0] = 1
    if width % 2 == 0:
        twice[-1] = 1
    return ((first * second.conj()).real * twice).sum(dim=(-1, -2))


def _autoregression(one: Tensor, two: Tensor) -> tuple[Tensor, Tensor]:
    """Coefficients from correlations over one and two steps, kept where they are stationary."""
    one = one.clamp(0.001, LARGEST_CORRELATION)
    two = torch.minimum(two.maximum(2 * one.square() - 1 + 1e-4), one)
    first = one * (1 - two) / (1 - one.square())
    second = (two - one.square()) / (1 - one.square())
    return first[..., None, None], second[..., None, None]
