"""How alike do two frames look? Gradient difference, structural similarity, signal to noise.

All in [0, 1] pixel units, so that the range of the data is 1.
"""

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Shaped
from torch import Tensor

from nowcast.core.scoring.sums import Sums
from nowcast.precipitation.verification.curves import NO_NUMBER, Curve, because, ratio

SSIM_WINDOW = 7  # pixels; this and the constants as in scikit-image and Wang et al. 2004
SSIM_K1, SSIM_K2 = 0.01, 0.03


def image_sums(
    prediction: Float[Tensor, "batch time 1 height width"],
    truth: Float[Tensor, "batch time 1 height width"],
    mask: Bool[Tensor, "batch time 1 height width"],
) -> Sums:
    """Per lead time ``gdl``, ``ssim`` (float64) and over how many they are (int64).

    ``gdl_pairs``: neighbours, both unmasked. ``ssim_windows``: windows of 7 x 7 pixels inside the
    frame without a masked one.
    """
    clips, leads, _, height, width = truth.shape
    sums, counts = np.zeros((2, leads)), np.zeros((2, leads), np.int64)
    # Frame by frame: what is added does not depend on the batch, and stays in the cache.
    for clip, lead in np.ndindex(clips, leads):
        valid = mask[clip, lead, 0]
        one = prediction[clip, lead, 0].double().clamp(0, 1).where(valid, 0.0)
        other = truth[clip, lead, 0].double().where(valid, 0.0)
        for axis in (0, 1):
            size = valid.shape[axis] - 1
            both = valid.narrow(axis, 0, size) & valid.narrow(axis, 1, size)
            change = one.diff(dim=axis).abs() - other.diff(dim=axis).abs()
            sums[0, lead] += float(change.abs().where(both, 0.0).sum())
            counts[0, lead] += int(both.sum())
        if min(height, width) >= SSIM_WINDOW:
            whole = _window_sum(valid.to(torch.uint8)) == SSIM_WINDOW**2
            sums[1, lead] += float(structural_similarity(one, other).where(whole, 0.0).sum())
            counts[1, lead] += int(whole.sum())
    return Sums(
        {"gdl": sums[0], "ssim": sums[1], "gdl_pairs": counts[0], "ssim_windows": counts[1]}
    )


def structural_similarity(
    one: Float64[Tensor, "height width"], other: Float64[Tensor, "height width"]
) -> Float64[Tensor, "rows columns"]:
    """Structural similarity of every window that lies inside the frame."""
    size = SSIM_WINDOW**2
    one_mean, other_mean = _window_sum(one) / size, _window_sum(other) / size
    square, product = one_mean.square() + other_mean.square(), one_mean * other_mean
    sample = 1 / (size - 1)
    variances = sample * (_window_sum(one.square() + other.square()) - size * square)
    covariance = sample * (_window_sum(one * other) - size * product)
    c1, c2 = SSIM_K1**2, SSIM_K2**2
    means = (2 * product + c1) / (square + c1)
    return means * (2 * covariance + c2) / (variances + c2)


def _window_sum(pixel: Shaped[Tensor, "height width"]) -> Shaped[Tensor, "rows columns"]:
    """Sums over windows, first of rows, then of columns; 7 = 4 + 2 + 1."""
    for _ in range(2):
        two = pixel[:-1] + pixel[1:]
        four = two[:-2] + two[2:]
        pixel = (four[:-3] + two[4:-1] + pixel[6:]).T
    return pixel


def image_curves(sums: Sums) -> dict[str, Curve]:
    """Scores by lead time.

    - ``gdl``: mean over neighbouring pixels, down and right, of ``||dp| - |dt||``, dp and dt
      their differences in prediction and truth; [0, 1], best 0 (Mathieu et al. 2016, Deep
      multi-scale video prediction beyond mean square error, doi:10.48550/arXiv.1511.05440, with
      exponent 1).
    - ``ssim``: mean structural similarity of 7 x 7 windows, uniform weights, sample covariance,
      as `skimage.metrics.structural_similarity` takes them by default; [-1, 1], best 1 (Wang et
      al. 2004, doi:10.1109/TIP.2003.819861).
    - ``psnr`` = -10 log10(mse) in dB, of the mean over all clips, not a mean over frames; [0, inf],
      best inf, which is undefined here (Huynh-Thu and Ghanbari 2008, doi:10.1049/el:20080522).
      Needs ``mse`` and ``pixels`` among the sums.
    """
    mse = ratio(sums["mse"], sums["pixels"])
    with np.errstate(divide="ignore"):
        psnr = -10 * np.log10(mse)
    lost, whole = (np.isnan(sums["mse"]), NO_NUMBER), sums["pixels"] > 0
    return {
        "gdl": Curve(
            ratio(sums["gdl"], sums["gdl_pairs"]),
            because(lost, otherwise="no valid pixel has a valid neighbour"),
        ),
        "ssim": Curve(
            ratio(sums["ssim"], sums["ssim_windows"]),
            because(lost, otherwise=f"no valid window of {SSIM_WINDOW} x {SSIM_WINDOW} pixels"),
        ),
        "psnr": Curve(
            psnr,
            because(
                lost,
                (whole, "the forecast is perfect: its signal-to-noise ratio is infinite"),
                otherwise="no valid pixel",
            ),
        ),
    }
