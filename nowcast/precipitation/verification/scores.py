"""The scores of the HKO-7 benchmark, per lead time, first as sums and then as numbers.

Errors are sums over the unmasked pixels of a frame in [0, 1] pixel units, averaged over clips.
Event scores come from counts over the whole set: an event is a pixel at or above a rain rate.
"""

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor

from nowcast.core.scoring.sums import Scores, Sums
from nowcast.precipitation.units import THRESHOLD_NAMES, Calibration
from nowcast.precipitation.verification.curves import (
    NO_NUMBER,
    NO_PIXEL,
    Curve,
    as_scores,
    because,
    ratio,
)
from nowcast.precipitation.verification.tally import tally

EVENTS = ("csi", "hss", "gss", "pod", "far", "bias")
COUNTS = ("hits", "misses", "false_alarms", "correct_negatives")


def score_frames(
    prediction: Float[Tensor, "batch time 1 height width"],
    truth: Float[Tensor, "batch time 1 height width"],
    mask: Bool[Tensor, "batch time 1 height width"],
    calibration: Calibration,
) -> Sums:
    """Sums over the clips of a batch; predictions are clipped to [0, 1], as HKO-7 does.

    ``b_mse``, ``b_mae``, ``mse``, ``mae`` (float64, per lead time), ``clips``, per lead time the
    unmasked ``pixels``, and per (threshold, lead time) the counts ``hits``, ``misses``,
    ``false_alarms``, ``correct_negatives`` (int64). A prediction that is not a number is an event
    at no threshold, so it counts as a miss or a correct negative, and makes the errors NaN.
    """
    counted = tally(prediction, truth, mask, calibration)
    mae, mse, b_mae, b_mse = (term.cpu().numpy() for term in counted.errors)
    hits, observed, warned = (
        counts.cpu().numpy() for counts in (counted.hits, counted.observed, counted.warned)
    )
    valid = counted.valid.cpu().numpy()
    return Sums(
        {
            "clips": np.array(truth.shape[0]),
            "pixels": valid,
            "b_mse": b_mse,
            "b_mae": b_mae,
            "mse": mse,
            "mae": mae,
            "hits": hits,
            "misses": observed - hits,
            "false_alarms": warned - hits,
            "correct_negatives": valid - observed - warned + hits,
        }
    )


def read_scores(sums: Sums, step_minutes: int) -> Scores:
    """Scores per lead time and their means over lead times, with their support.

    - ``b_mse`` = sum w e^2, ``b_mae`` = sum w |e| over a frame's unmasked pixels, averaged over
      clips; e is the error in [0, 1] pixel units, w the balancing weight of the truth; [0, inf),
      best 0 (Shi et al. 2017, section 5.1, doi:10.48550/arXiv.1706.03458).
    - ``mse`` = mean e^2, ``mae`` = mean |e| over unmasked pixels (an error of 1 is 70 dB); [0, 1],
      best 0.
    - ``csi/T`` = hits / (hits + misses + false alarms); [0, 1], best 1. Also: threat score.
    - ``hss/T`` = 2 (a d - b c) / ((a + c)(c + d) + (a + b)(b + d)), a hits, b false alarms,
      c misses, d correct negatives; [-1, 1], best 1, 0 is chance.
    - ``gss/T`` = (a - r) / (a + b + c - r), r = (a + b)(a + c) / (a + b + c + d) hits by chance;
      [-1/3, 1], best 1. Also: equitable threat score.
    - ``pod/T`` = hits / (hits + misses); [0, 1], best 1.
    - ``far/T`` = false alarms / (hits + false alarms); [0, 1], best 0.
    - ``bias/T`` = (hits + false alarms) / (hits + misses); [0, inf), best 1.

    T is the threshold in mm/h; ``mse``, ``mae`` and event scores as in Jolliffe and Stephenson
    2012, Forecast Verification, chapters 3 and 5, doi:10.1002/9781119960003. A score whose
    denominator is 0 is None, with its reason, and the mean over lead times takes the defined ones.
    An error is None where the forecast is not a number, and so is its mean.
    """
    curves = benchmark_curves(sums)
    return as_scores(curves, int(sums["clips"]), benchmark_support(sums), step_minutes)


def benchmark_curves(sums: Sums) -> dict[str, Curve]:
    """The scores of `read_scores` by lead time."""
    pixels = sums["pixels"]
    curves = {}
    for name, over in (
        ("b_mse", sums["clips"]),
        ("b_mae", sums["clips"]),
        ("mse", pixels),
        ("mae", pixels),
    ):
        reasons = because((np.isnan(sums[name]), NO_NUMBER), otherwise=NO_PIXEL)
        curves[name] = Curve(ratio(sums[name], over), reasons)
    events = event_scores(*(sums[name].astype(float) for name in COUNTS))
    for name in EVENTS:
        for row, threshold in enumerate(THRESHOLD_NAMES):
            reasons = _reasons(name, threshold, *(sums[count][row] for count in COUNTS))
            curves[f"{name}/{threshold}"] = Curve(events[name][row], reasons)
    return curves


def benchmark_support(sums: Sums) -> dict[str, NDArray[np.int64]]:
    """By lead time: unmasked pixels, and the four counts at each threshold."""
    return {"pixels": sums["pixels"]} | {
        f"{name}/{threshold}": sums[name][row]
        for name in COUNTS
        for row, threshold in enumerate(THRESHOLD_NAMES)
    }


def event_scores(
    hits: NDArray[np.float64],
    misses: NDArray[np.float64],
    false_alarms: NDArray[np.float64],
    correct_negatives: NDArray[np.float64],
) -> dict[str, NDArray[np.float64]]:
    """Event scores of counts, see `read_scores`; NaN where undefined."""
    a, b, c, d = hits, false_alarms, misses, correct_negatives
    by_chance = ratio((a + b) * (a + c), a + b + c + d)
    return {
        "csi": ratio(a, a + b + c),
        "hss": ratio(2 * (a * d - b * c), (a + c) * (c + d) + (a + b) * (b + d)),
        "gss": ratio(a - by_chance, a + b + c - by_chance),
        "pod": ratio(a, a + c),
        "far": ratio(b, a + b),
        "bias": ratio(a + b, a + c),
    }


def _reasons(
    name: str,
    threshold: str,
    hits: NDArray[np.int64],
    misses: NDArray[np.int64],
    false_alarms: NDArray[np.int64],
    correct_negatives: NDArray[np.int64],
) -> list[str]:
    """Why an event score would be undefined at each lead time."""
    where = {"pod": "truth", "bias": "truth", "far": "forecast"}.get(name, "truth or forecast")
    dry = hits + misses + false_alarms == 0
    return because(
        (dry & (correct_negatives == 0), NO_PIXEL),
        (dry | (name in ("pod", "bias", "far")), f"no event ≥ {threshold} mm/h in {where}"),
        otherwise=f"every pixel is an event ≥ {threshold} mm/h in truth and forecast",
    )
