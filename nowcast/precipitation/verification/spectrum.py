"""At which wavelengths does a forecast have too little variance? Blur lacks the short ones.

The radially averaged power spectrum of prediction and truth (Ruzanski and Chandrasekar 2011, Scale
filtering for improved nowcasting performance in a high-resolution X-band radar network,
doi:10.1109/TGRS.2010.2103946).
"""

from functools import cache
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64
from numpy.typing import NDArray
from torch import Tensor

from nowcast.core.scoring.sums import Sums
from nowcast.precipitation.verification.curves import NO_NUMBER, NO_PIXEL, Curve, because, ratio

BAND_STARTS = (2, 4, 8, 16, 32, 64)  # shortest wavelength of each octave, pixels


def spectrum_sums(
    prediction: Float[Tensor, "batch time 1 height width"],
    truth: Float[Tensor, "batch time 1 height width"],
    mask: Bool[Tensor, "batch time 1 height width"],
) -> Sums:
    """``power_prediction`` and ``power_truth`` (float64), per (wavenumber, lead time).

    Of the pixels in [0, 1], that is of reflectivity on its logarithmic scale. The mean over the
    unmasked pixels is taken off first, and masked ones are then 0, so that the mask's edge is as
    small a jump as it can be; a Hann window takes the frame's edges down to 0. What jump remains
    is at the same place in both, and draws their ratio towards 1 where much is masked.
    """
    powers = {"prediction": prediction.clamp(0, 1), "truth": truth}
    return Sums({f"power_{name}": mean_power(pixel, mask) for name, pixel in powers.items()})


def mean_power(
    pixel: Float[Tensor, "batch time 1 height width"],
    mask: Bool[Tensor, "batch time 1 height width"],
) -> Float64[np.ndarray, "wavenumber time"]:
    """Mean power at each wavenumber, summed over the clips; see `spectrum_sums`."""
    height, width = pixel.shape[-2:]
    bins, count = radial_bins(height, width)
    half = bins[:, : width // 2 + 1].ravel()
    power = np.zeros((count, pixel.shape[1]))
    # Frame by frame: the transform of a frame must not depend on the batch it comes in.
    for clip, lead in np.ndindex(*pixel.shape[:2]):
        spectrum = _power(pixel[clip, lead, 0].double(), mask[clip, lead, 0]).cpu().numpy()
        power[:, lead] += np.bincount(half, spectrum.ravel(), count + 1)[:count]
    return power / np.bincount(bins.ravel(), minlength=count + 1)[:count, None]


def _power(
    pixel: Float64[Tensor, "height width"], mask: Bool[Tensor, "height width"]
) -> Float64[Tensor, "height half"]:
    """Power of the Fourier coefficients up to half of the width's wavenumbers, with that of their
    conjugates beyond; it adds up to the sum of the windowed squares."""
    mean = pixel.where(mask, 0.0).sum() / mask.sum().clamp(min=1)
    height, width = (
        torch.hann_window(size, periodic=False, dtype=pixel.dtype, device=pixel.device)
        for size in pixel.shape
    )
    windowed = (pixel - mean).where(mask, 0.0) * height[:, None] * width
    half = torch.view_as_real(torch.fft.rfft2(windowed))
    power: Tensor = half.square().sum(-1) / pixel.numel()
    power[:, 1 : (pixel.shape[1] + 1) // 2] *= 2  # the conjugates
    return power


@cache
def radial_bins(height: int, width: int) -> tuple[NDArray[np.int64], int]:
    """Wavenumber of each Fourier coefficient, and how many wavenumbers there are.

    In cycles per longer side of the frame, rounded; those beyond half of it, which not every
    direction has, are all given the number after the last.
    """
    side = max(height, width)
    down, right = np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)
    numbers = np.rint(side * np.hypot(down, right)).astype(np.int64)
    count = (side + 1) // 2
    return np.minimum(numbers, count), count


def wavelengths(count: int) -> NDArray[np.float64]:
    """Wavelength in pixels of the wavenumbers from 1 on, of a frame with so many from 0 on.

    The longer side is taken to be even, `2 count`, as radar frames are.
    """
    return np.asarray(2 * count / np.arange(1, count))


def spectrum_curves(
    sums: Sums, of: Literal["prediction", "member"] = "prediction"
) -> dict[str, Curve]:
    """``spectrum/n`` = power of the prediction / power of the truth at n to 2 n pixels wavelength.

    Mean power over all clips before the ratio is taken. Range [0, inf), best 1; below 1 the
    forecast is too smooth at that scale, above it too rough (Ruzanski and Chandrasekar 2011,
    doi:10.1109/TGRS.2010.2103946). Needs ``pixels`` among the sums.

    Args:
        sums: of `spectrum_sums` or, of an ensemble, of `member_sums` too.
        of: whose; of a member the scores are called ``member_spectrum/n``.
    """
    predicted, true = sums[f"power_{of}"], sums["power_truth"]
    name = "spectrum" if of == "prediction" else f"{of}_spectrum"
    length = wavelengths(len(true))
    curves = {}
    for start in BAND_STARTS:
        band = np.flatnonzero((length >= start) & (length < 2 * start)) + 1
        over, under = predicted[band].sum(0), true[band].sum(0)
        reasons = because(
            (np.isnan(over), NO_NUMBER),
            (np.full(len(under), not len(band)), f"the frame has no wavelength of {start} pixels"),
            (sums["pixels"] == 0, NO_PIXEL),
            otherwise="the truth does not vary",
        )
        curves[f"{name}/{start}"] = Curve(ratio(over, under), reasons)
    return curves
