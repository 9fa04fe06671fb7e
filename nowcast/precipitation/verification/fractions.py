"""Is rain forecast nearby, if not at the very pixel? The fractions skill score (FSS).

Roberts and Lean 2008, Scale-Selective Verification of Rainfall Accumulations from High-Resolution
Forecasts of Convective Events, doi:10.1175/2007MWR2123.1.
"""

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int64, Shaped
from numpy.typing import NDArray
from torch import Tensor

from nowcast.core.scoring.sums import Sums
from nowcast.precipitation.units import THRESHOLD_NAMES, Calibration
from nowcast.precipitation.verification.balance import pixel_thresholds
from nowcast.precipitation.verification.curves import Curve, because, ratio

try:
    from nowcast.precipitation.verification import _fractions
except ImportError:  # installed where there was no C compiler
    available = False
else:
    available = True

WindowSums = tuple[
    Float64[np.ndarray, "threshold scale"],
    Float64[np.ndarray, "threshold scale"],
    Int64[np.ndarray, " scale"],
]
SCALES = (1, 2, 4, 8, 16, 32, 64)  # pixels, about km on the usual grids; each twice the one before


def fraction_sums(
    prediction: Float[Tensor, "batch time 1 height width"],
    truth: Float[Tensor, "batch time 1 height width"],
    mask: Bool[Tensor, "batch time 1 height width"],
    calibration: Calibration,
) -> Sums:
    """Sums over windows of the event fractions' squares and squared differences.

    A window is a square of n x n pixels that lies inside the frame, at every position: nothing is
    assumed about rain outside. Its fraction is of its unmasked pixels; one that has none is left
    out. ``fss_difference`` and ``fss_reference`` are float64 per (threshold, scale, lead time),
    ``fss_windows`` int64 per (scale, lead time).
    """
    shape = (len(THRESHOLD_NAMES), len(SCALES), truth.shape[1])
    difference, reference = np.zeros(shape), np.zeros(shape)
    windows = np.zeros(shape[1:], np.int64)
    # Frame by frame: what is added does not depend on the batch, and stays in the cache.
    for clip, lead in np.ndindex(*truth.shape[:2]):
        valid = mask[clip, lead, 0]
        warned, events = (
            torch.stack(
                [
                    (pixel[clip, lead, 0] >= threshold) & valid
                    for threshold in pixel_thresholds(calibration)
                ]
            )
            for pixel in (prediction, truth)
        )
        apart, either, inside = window_sums(valid, warned, events)
        difference[..., lead] += apart
        reference[..., lead] += either
        windows[:, lead] += inside
    return Sums({"fss_difference": difference, "fss_reference": reference, "fss_windows": windows})


def window_sums(
    valid: Bool[Tensor, "height width"],
    warned: Shaped[Tensor, "threshold height width"],
    events: Bool[Tensor, "threshold height width"],
    members: int = 1,
) -> WindowSums:
    """Of one frame: squared differences and squares of the fractions, and the windows.

    Args:
        valid: unmasked pixels.
        warned: at how many members each threshold is reached; 0 where masked.
        events: where it is reached in the truth; False where masked.
        members: that there are; a fraction of the forecast is the mean of theirs. On CPU one
            member's are in C (``_fractions.c``), seven times as fast.
    """
    # Counts up to 64 * 64 fit into 16 bits, and bytes would not hold them.
    kind = torch.int16 if members * SCALES[-1] ** 2 < 2**15 else torch.int32
    pairs = torch.stack([warned.to(kind), events.to(kind)], dim=1).flatten(0, 1)
    counts = torch.cat([valid.to(kind)[None], pairs])
    plain = type(counts) is Tensor and counts.is_cpu and members == 1
    return (_in_c if available and plain else _in_torch)(counts, members)


def _in_c(counts: Tensor, members: int) -> WindowSums:
    sums = torch.zeros(len(SCALES), len(counts) // 2, 2, dtype=torch.float64)
    windows = torch.zeros(len(SCALES), dtype=torch.int64)
    _fractions.windows(counts, sums, windows)
    difference, reference = sums.permute(2, 1, 0).numpy()
    return difference, reference, windows.numpy()


def _in_torch(counts: Tensor, members: int) -> WindowSums:
    shape = (len(counts) // 2, len(SCALES))
    difference, reference = np.zeros(shape), np.zeros(shape)
    windows = np.zeros(len(SCALES), np.int64)
    for row, scale in enumerate(SCALES):
        if row:
            counts = _doubled(counts, scale // 2)
        if not counts.numel():
            break
        windows[row] = int((counts[0] > 0).sum())
        fractions = counts[1:].double().flatten(1)
        fractions /= counts[0].clamp(min=1).double().flatten()
        if members > 1:
            fractions[0::2] /= members
        difference[:, row] = _squares(fractions[0::2] - fractions[1::2])
        reference[:, row] = _squares(fractions).reshape(-1, 2).sum(1)
    return difference, reference, windows


def _squares(values: Float64[Tensor, "rows windows"]) -> NDArray[np.float64]:
    """The sum of squares in each row."""
    return np.asarray(torch.linalg.vecdot(values, values).cpu())


def _doubled(counts: Tensor, side: int) -> Tensor:
    """Counts in windows of twice the side, from those in windows of a side."""
    if min(counts.shape[1:]) <= side:
        return counts[:, :0]
    tall = counts[:, :-side] + counts[:, side:]
    return tall[:, :, :-side] + tall[:, :, side:]


def fraction_curves(sums: Sums, name: str = "fss") -> dict[str, Curve]:
    """``fss/T/n`` = 1 - sum (f - o)^2 / sum (f^2 + o^2) over windows of n x n pixels.

    f and o are the fractions of a window's pixels at or above T mm/h in forecast and truth; sums
    are over all clips before the ratio is taken. Range [0, 1], best 1; above 0.5 + half the
    frequency of the event a forecast is commonly called useful at that scale (Roberts and Lean
    2008, doi:10.1175/2007MWR2123.1).

    Args:
        sums: of `fraction_sums`, or of an ensemble.
        name: of the score and, with ``_difference`` and ``_reference``, of its sums.
    """
    curves = {}
    for column, scale in enumerate(SCALES):
        empty = sums["fss_windows"][column] == 0
        nowhere = f"no valid window of {scale} pixels in the frame"
        for row, threshold in enumerate(THRESHOLD_NAMES):
            difference = sums[f"{name}_difference"][row, column]
            reasons = because(
                (empty, nowhere), otherwise=f"no event ≥ {threshold} mm/h in truth or forecast"
            )
            values = 1 - ratio(difference, sums[f"{name}_reference"][row, column])
            curves[f"{name}/{threshold}/{scale}"] = Curve(values, reasons)
    return curves
