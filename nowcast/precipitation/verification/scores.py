"""The scores of the HKO-7 benchmark, per lead time, first as sums and then as numbers.

Errors are sums over the unmasked pixels of a frame in [0, 1] pixel units, averaged over clips.
Event scores come from counts over the whole set: an event is a pixel at or above a rain rate.
"""

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor

from nowcast.core.sums import Scores, Sums
from nowcast.precipitation.balance import balancing_weights, pixel_thresholds
from nowcast.precipitation.units import THRESHOLD_NAMES, Calibration

ERRORS = ("b_mse", "b_mae")
EVENTS = ("csi", "hss", "pod", "far")


def score_frames(
    prediction: Float[Tensor, "batch time 1 height width"],
    truth: Float[Tensor, "batch time 1 height width"],
    mask: Bool[Tensor, "batch time 1 height width"],
    calibration: Calibration,
) -> Sums:
    """Sums over the clips of a batch; predictions are clipped to [0, 1], as HKO-7 does.

    ``b_mse``, ``b_mae`` (float64, per lead time), ``clips``, and per (threshold, lead time) the
    int64 counts ``hits``, ``misses``, ``false_alarms``, ``correct_negatives``.
    """
    over = (0, 2, 3, 4)  # all but lead time
    prediction = prediction.float().clamp(0, 1)
    error = prediction - truth
    weights = balancing_weights(truth, calibration) * mask
    valid = mask.sum(over)
    # Where masked, neither is an event.
    prediction, truth = prediction.where(mask, -1.0), truth.where(mask, -1.0)
    forecast, observed, hits = [], [], []
    for threshold in pixel_thresholds(calibration):
        predicted_event, true_event = prediction >= threshold, truth >= threshold
        forecast.append(predicted_event.sum(over))
        observed.append(true_event.sum(over))
        hits.append((predicted_event & true_event).sum(over))
    hit, seen, warned = torch.stack(hits), torch.stack(observed), torch.stack(forecast)
    sums = {
        "clips": torch.tensor(truth.shape[0]),
        "b_mse": (weights * error.square()).sum(over, dtype=torch.float64),
        "b_mae": (weights * error.abs()).sum(over, dtype=torch.float64),
        "hits": hit,
        "misses": seen - hit,
        "false_alarms": warned - hit,
        "correct_negatives": valid - seen - warned + hit,
    }
    return Sums({name: value.cpu().numpy() for name, value in sums.items()})


def read_scores(sums: Sums, step_minutes: int) -> Scores:
    """Scores per lead time and their means over lead times.

    - ``b_mse``, ``b_mae``: mean over clips; range [0, inf), best 0 (Shi et al. 2017, section 5.1).
    - ``csi/T`` = hits / (hits + misses + false alarms); [0, 1], best 1. Also: threat score.
    - ``hss/T`` = 2 (a d - b c) / ((a + c)(c + d) + (a + b)(b + d)), a hits, b false alarms,
      c misses, d correct negatives; (-1, 1], best 1, 0 is chance.
    - ``pod/T`` = hits / (hits + misses); [0, 1], best 1.
    - ``far/T`` = false alarms / (hits + false alarms); [0, 1], best 0.

    T is the threshold in mm/h. An event score whose denominator is 0 is None; its mean over lead
    times takes the defined ones and is None if there are none. An error is None where the forecast
    is not a number, and so is its mean.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        by_lead = {name: sums[name] / sums["clips"] for name in ERRORS}
        a, b = sums["hits"].astype(float), sums["false_alarms"].astype(float)
        c, d = sums["misses"].astype(float), sums["correct_negatives"].astype(float)
        events = {
            "csi": a / (a + b + c),
            "hss": 2 * (a * d - b * c) / ((a + c) * (c + d) + (a + b) * (b + d)),
            "pod": a / (a + c),
            "far": b / (a + b),
        }
    for name in EVENTS:
        for position, threshold in enumerate(THRESHOLD_NAMES):
            by_lead[f"{name}/{threshold}"] = events[name][position]
    minutes = tuple(float(step_minutes * lead) for lead in range(1, len(sums["b_mse"]) + 1))
    return Scores(
        values={
            # An event may fail to occur at a lead time; an error that is undefined there is not.
            name: _mean(curve) if name in ERRORS else _mean(curve[np.isfinite(curve)])
            for name, curve in by_lead.items()
        },
        curves={name: tuple(map(_defined, curve)) for name, curve in by_lead.items()},
        axis_name="minutes",
        axis=minutes,
    )


def _mean(curve: NDArray[np.float64]) -> float | None:
    return _defined(curve.mean()) if len(curve) else None


def _defined(value: np.float64) -> float | None:
    return float(value) if np.isfinite(value) else None
