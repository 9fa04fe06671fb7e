"""Does a forecast rain as hard as the truth? Errors in mm/h, and quantiles of the rain rate."""

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor

from nowcast.core.scoring.sums import Sums
from nowcast.precipitation.units import DBZ_AT_PIXEL_0, DBZ_SPAN, PIXEL_LEVELS, Calibration
from nowcast.precipitation.verification.curves import NO_NUMBER, NO_PIXEL, Curve, because, ratio

QUANTILES = (0.9, 0.95, 0.99, 0.999)
QUANTILE_NAMES = tuple(f"{quantile:g}" for quantile in QUANTILES)
BINS_PER_LEVEL = 4  # predictions lie between the 8-bit levels of the truth
TOP_BIN = BINS_PER_LEVEL * PIXEL_LEVELS


def rain_rate_sums(
    prediction: Float[Tensor, "batch time 1 height width"],
    truth: Float[Tensor, "batch time 1 height width"],
    mask: Bool[Tensor, "batch time 1 height width"],
    calibration: Calibration,
) -> Sums:
    """Sums of rain rates, and histograms of the pixels.

    ``rate_error`` (mm/h)^2, ``rate_absolute`` (absolute errors), ``rate_prediction`` and
    ``rate_truth`` mm/h (float64), per lead time; ``histogram_prediction`` and ``histogram_truth``
    (int64) per (bin, lead time). A bin is a quarter of an 8-bit level, 0.069 dBZ or about 1 % of a
    rain rate, and centred on its value: those of the truth are exact. A prediction that is not a
    number is in no bin.
    """
    leads = truth.shape[1]
    rates = torch.zeros(4, leads, dtype=torch.float64, device=truth.device)
    bins = torch.zeros(2, TOP_BIN + 1, leads, dtype=torch.int64, device=truth.device)
    # Frame by frame: what is added does not depend on the batch, and stays in the cache.
    for clip, lead in np.ndindex(*truth.shape[:2]):
        valid = mask[clip, lead, 0]
        pixels = prediction[clip, lead, 0].float().clamp(0, 1), truth[clip, lead, 0]
        predicted, true = (_rate(pixel, calibration).where(valid, 0.0) for pixel in pixels)
        error = predicted - true
        of_frame = torch.vdot(error.ravel(), error.ravel()), error.abs().sum()
        rates[:, lead] += torch.stack([*of_frame, predicted.sum(), true.sum()])
        bins[:, :, lead] += torch.stack([_histogram(pixel, valid) for pixel in pixels])
    error_names = ("rate_error", "rate_absolute", "rate_prediction", "rate_truth")
    sums = dict(zip(error_names, rates, strict=True))
    sums |= {"histogram_prediction": bins[0], "histogram_truth": bins[1]}
    return Sums({name: value.cpu().numpy() for name, value in sums.items()})


def _rate(pixel: Tensor, calibration: Calibration) -> Tensor:
    """`Calibration.rate_from_pixel`, for tensors; float64."""
    per_decibel = np.log(10) / (10 * calibration.zr_b)
    at_0 = DBZ_AT_PIXEL_0 - 10 * np.log10(calibration.zr_a)
    rate = pixel.double().mul_(DBZ_SPAN * per_decibel).add_(at_0 * per_decibel).exp_()
    return rate.masked_fill_(pixel == 0, 0.0)


def _histogram(pixel: Tensor, valid: Tensor) -> Tensor:
    """How many valid pixels of a frame lie in each bin."""
    nowhere = TOP_BIN + 1
    cell = (pixel * TOP_BIN).round_().nan_to_num_(nowhere).int().where(valid, nowhere)
    return torch.bincount(cell.ravel(), minlength=nowhere + 1)[:nowhere]


def rain_rate_curves(sums: Sums, calibration: Calibration) -> dict[str, Curve]:
    """Scores by lead time.

    - ``rmse_mm_h`` = sqrt(mean (p - t)^2) of the rain rates p of the prediction and t of the truth;
      mm/h, [0, inf), best 0.
    - ``rain_amount`` = mean p / mean t; [0, inf), best 1. Also: multiplicative bias.
    - ``quantile_bias/q`` = the rain rate that a share q of the prediction's valid pixels, dry ones
      too, does not exceed / that of the truth; [0, inf), best 1, below 1 extremes are lacking.

    The first two as in Jolliffe and Stephenson 2012, Forecast Verification, chapter 5,
    doi:10.1002/9781119960003; the third is the ratio of two quantiles.
    """
    lost = (np.isnan(sums["rate_error"]), NO_NUMBER)
    curves = {
        "rmse_mm_h": Curve(
            np.sqrt(ratio(sums["rate_error"], sums["pixels"])), because(lost, otherwise=NO_PIXEL)
        ),
        "rain_amount": Curve(
            ratio(sums["rate_prediction"], sums["rate_truth"]),
            because(lost, (sums["pixels"] == 0, NO_PIXEL), otherwise="the truth is dry"),
        ),
    }
    rates = calibration.rate_from_pixel(np.arange(TOP_BIN + 1) / TOP_BIN)
    for quantile, name in zip(QUANTILES, QUANTILE_NAMES, strict=True):
        predicted, true = (
            _quantile(sums[f"histogram_{field}"], rates, quantile)
            for field in ("prediction", "truth")
        )
        values = np.where(lost[0], np.nan, ratio(predicted, true))
        dry = f"a share {name} of the true pixels is dry"
        curves[f"quantile_bias/{name}"] = Curve(
            values, because(lost, (sums["pixels"] == 0, NO_PIXEL), otherwise=dry)
        )
    return curves


def _quantile(
    histogram: NDArray[np.int64], rates: NDArray[np.float64], quantile: float
) -> NDArray[np.float64]:
    """The least rate that at least a share of the pixels does not exceed, per lead time."""
    below = histogram.cumsum(0)
    reached = below >= np.maximum(quantile * below[-1], 1)
    return np.where(below[-1] > 0, rates[reached.argmax(0)], np.nan)
