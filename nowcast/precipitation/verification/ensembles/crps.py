"""How far members are from the truth, and from each other: CRPS, spread and skill."""

import numpy as np
from jaxtyping import Float64
from numpy.typing import NDArray

from nowcast.core.scoring.sums import Sums
from nowcast.precipitation.units import DBZ_AT_PIXEL_0, DBZ_SPAN, Calibration
from nowcast.precipitation.verification.curves import NO_NUMBER, NO_PIXEL, Curve, because, ratio
from nowcast.precipitation.verification.ensembles.wet import Wet

UNITS = ("mm_h", "pixel")
DISTANCES = ("member_error", "member_distance", "member_variance", "mean_error")
ONE_MEMBER = "one member has no spread"


def distances(wet: Wet, calibration: Calibration) -> dict[str, float]:
    """Sums over pixels, in mm/h and in pixel units.

    - ``member_error_UNIT``: mean of ``|x_i - y|`` over the members x of a pixel whose truth is y,
    - ``member_distance_UNIT``: mean of ``|x_i - x_j|`` over the pairs of different members,
    - ``member_variance_UNIT``: sample variance of the members, with m - 1,
    - ``mean_error_UNIT``: ``(mean x - y)^2``.
    """
    members, truth = wet.members.astype(np.float64), wet.truth.astype(np.float64)
    in_mm_h = _rate(members, calibration), _rate(truth, calibration)
    found = {}
    for unit, pair in zip(UNITS, (in_mm_h, (members, truth)), strict=True):
        for name, value in zip(DISTANCES, _distances(*pair), strict=True):
            found[f"{name}_{unit}"] = value
    return found


def _distances(
    members: Float64[np.ndarray, "member pixel"], truth: Float64[np.ndarray, " pixel"]
) -> tuple[float, float, float, float]:
    """Of members that ascend, so that a member's distances to all others are one factor of it."""
    count = len(members)
    mean = members.mean(0)
    error = np.abs(members - truth).sum() / count
    pairs = max(1, count * (count - 1) // 2)
    apart = (2 * np.arange(count) + 1 - count) @ members.sum(1) / pairs
    variance = np.square(members - mean).sum() / max(1, count - 1)
    return float(error), float(apart), float(variance), float(np.square(mean - truth).sum())


def _rate(pixel: NDArray[np.float64], calibration: Calibration) -> NDArray[np.float64]:
    """`Calibration.rate_from_pixel` by one exponential, four times as fast as its power of ten."""
    scale = np.log(10) / (10 * calibration.zr_b)
    rate = np.exp(scale * (DBZ_SPAN * pixel + DBZ_AT_PIXEL_0 - 10 * np.log10(calibration.zr_a)))
    return np.where(pixel != 0, rate, 0.0)


def crps_curves(sums: Sums) -> dict[str, Curve]:
    """Scores by lead time, of the sums of `distances`, in ``mm_h`` and in ``pixel`` units.

    - ``crps_UNIT`` = mean |x_i - y| - mean |x_i - x_j| / 2 over the pixels, the pairs of different
      members alone: the *fair* continuous ranked probability score, which a larger ensemble of the
      same distribution does not change in expectation; best 0, may be below 0 in a small sample
      (Ferro 2014, doi:10.1002/qj.2270). Of one member it is the mean absolute error.
    - ``crps_plain_UNIT``, where a member's distance to itself counts as a pair: the integral of
      (F - 1(y <= x))^2 over x, F the members' own distribution; [0, inf), best 0 (Gneiting and
      Raftery 2007, doi:10.1198/016214506000001437). Larger than the former by the mean distance
      of two members / 2m.
    """
    curves = {}
    count = members_of(sums)
    for unit in UNITS:
        error, apart = sums[f"member_error_{unit}"], sums[f"member_distance_{unit}"]
        reasons = because((np.isnan(error), NO_NUMBER), otherwise=NO_PIXEL)
        for name, share in (("crps", 0.5), ("crps_plain", (count - 1) / (2 * count))):
            values = ratio(error - share * apart, sums["pixels"])
            curves[f"{name}_{unit}"] = Curve(values, reasons)
    return curves


def spread_curves(sums: Sums) -> dict[str, Curve]:
    """``spread_skill_UNIT`` = sqrt((m + 1) / m * mean variance / mean (mean x - y)^2).

    Variance over the m members of a pixel, with m - 1; means over the pixels before the ratio is
    taken. [0, inf), best 1; below 1 members differ from each other less than from the truth: the
    ensemble is too sure (Fortin et al. 2014, doi:10.1175/JHM-D-14-0008.1). In ``mm_h``, where the
    heaviest rain decides, and in ``pixel`` units.
    """
    count = members_of(sums)
    curves = {}
    for unit in UNITS:
        variance, error = sums[f"member_variance_{unit}"], sums[f"mean_error_{unit}"]
        alone = np.full(error.shape, count == 1)
        values = np.sqrt((count + 1) / count * ratio(variance, error))
        reasons = because(
            (np.isnan(error), NO_NUMBER),
            (alone, ONE_MEMBER),
            (sums["pixels"] == 0, NO_PIXEL),
            otherwise="the mean of the members is perfect",
        )
        curves[f"spread_skill_{unit}"] = Curve(np.where(alone, np.nan, values), reasons)
    return curves


def members_of(sums: Sums) -> int:
    """How many members these sums are of."""
    return int(sums["exceeding"].shape[1]) - 1
