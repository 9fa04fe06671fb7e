"""Counts of events and sums of errors, from one look at every pixel: what `scores` reads.

On CPU the pass is in C (``_tally.c``): torch operations, which serve on other devices and where
there was no C compiler, go over the pixels thirty times.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from nowcast.precipitation.units import Calibration
from nowcast.precipitation.verification.balance import (
    BALANCING_WEIGHTS,
    balancing_weights,
    pixel_thresholds,
    rises,
)

try:
    from nowcast.precipitation.verification import _tally
except ImportError:  # installed where there was no C compiler
    available = False
else:
    available = True

CLASSES = len(BALANCING_WEIGHTS)
IN_C = 6  # classes that _tally.c is written for


@dataclass(frozen=True)
class Tally:
    """What was counted, on the device of the frames.

    Args:
        valid: unmasked pixels.
        hits: at or above each threshold in both prediction and truth.
        observed: ... in the truth.
        warned: ... in the prediction.
        errors: sums over the unmasked pixels of ``|e|``, ``e^2``, ``w |e|`` and ``w e^2``, with
            the error e in [0, 1] pixel units and the balancing weight w of the truth.
    """

    valid: Int64[Tensor, " time"]
    hits: Int64[Tensor, "threshold time"]
    observed: Int64[Tensor, "threshold time"]
    warned: Int64[Tensor, "threshold time"]
    errors: Float64[Tensor, "4 time"]


def tally(
    prediction: Float[Tensor, "batch time 1 height width"],
    truth: Float[Tensor, "batch time 1 height width"],
    mask: Bool[Tensor, "batch time 1 height width"],
    calibration: Calibration,
) -> Tally:
    """Count and sum over the clips of a batch, per lead time; predictions are clipped to [0, 1].

    A prediction that is not a number is an event at no threshold, and makes the errors NaN.

    Raises:
        ValueError: the three are not of one shape or not on one device, or the mask is no booleans.
    """
    devices = [str(frames.device) for frames in (prediction, truth, mask)]
    if len(set(devices)) > 1:
        raise ValueError(
            f"expected prediction, truth and mask on one device, found them on {devices[0]}, "
            f"{devices[1]} and {devices[2]}; a forecaster leaves its forecast where its input was"
        )
    if mask.dtype is not torch.bool:
        raise ValueError(f"expected a mask of booleans, found one of {mask.dtype}")
    if not prediction.shape == truth.shape == mask.shape:  # C would read beyond the shorter one
        raise ValueError(
            f"expected a prediction and a mask of {tuple(truth.shape)}, as the truth is, found "
            f"{tuple(prediction.shape)} and {tuple(mask.shape)}"
        )
    prediction, truth = prediction.detach().float(), truth.float()
    plain = all(type(frames) is Tensor and frames.is_cpu for frames in (prediction, truth, mask))
    in_c = available and plain and CLASSES == IN_C
    return (_in_c if in_c else _in_torch)(prediction, truth, mask, calibration)


def _in_c(prediction: Tensor, truth: Tensor, mask: Tensor, calibration: Calibration) -> Tally:
    leads = truth.shape[1]
    events = CLASSES - 1
    counts = torch.zeros(leads, 3 * events + 1, dtype=torch.int64)
    errors = torch.zeros(leads, 4, dtype=torch.float64)
    _tally.tally(
        prediction.contiguous(),
        truth.contiguous(),
        mask.contiguous(),
        torch.tensor(pixel_thresholds(calibration)),
        torch.tensor((BALANCING_WEIGHTS[0], *rises())),
        counts,
        errors,
    )
    hits, observed, warned = counts[:, :-1].T.reshape(3, events, leads)
    return Tally(counts[:, -1], hits, observed, warned, errors.T)


def _in_torch(prediction: Tensor, truth: Tensor, mask: Tensor, calibration: Calibration) -> Tally:
    thresholds = pixel_thresholds(calibration)
    predicted_class, true_class = classes(prediction, thresholds), classes(truth, thresholds)
    cells = CLASSES**2 + 1  # of (truth, prediction), and one for the masked
    cell = (true_class * CLASSES + predicted_class).where(mask, cells - 1)
    leads = torch.arange(truth.shape[1], device=truth.device, dtype=torch.int32)
    cell = cell + cells * leads.view(-1, 1, 1, 1)
    counts = torch.bincount(cell.flatten(), minlength=truth.shape[1] * cells).view(-1, cells)
    # From how many lie in each pair of classes to how many reach class k or more in both.
    table = counts[:, :-1].view(-1, CLASSES, CLASSES)
    reached = table.flip(1, 2).cumsum(1).cumsum(2).flip(1, 2)
    error = (prediction.clamp(0, 1) - truth).abs().where(mask, 0.0).double()
    weighted = error * balancing_weights(truth, calibration)
    over = (0, 2, 3, 4)  # all but lead time
    errors = [term.sum(over) for term in (error, error * error, weighted, weighted * error)]
    return Tally(
        reached[:, 0, 0],
        reached.diagonal(dim1=1, dim2=2)[:, 1:].T,
        reached[:, 1:, 0].T,
        reached[:, 0, 1:].T,
        torch.stack(errors),
    )


def classes(pixel: Tensor, thresholds: tuple[float, ...]) -> Tensor:
    """How many thresholds each pixel reaches."""
    reached = torch.zeros(pixel.shape, dtype=torch.uint8, device=pixel.device)
    for threshold in thresholds:
        reached += pixel >= threshold
    return reached
