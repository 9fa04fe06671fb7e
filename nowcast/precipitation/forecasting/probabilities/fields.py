"""Fields that are made of an ensemble's members, one time at a time: plain functions of rain rates.

Rates are mm/h (or mm, of a sum) by ``member height width``; NaN is no data. A pixel that is missing
in one member is missing in every field: what was not measured is never dry.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32

Rates = Float[np.ndarray, "member height width"]
Field = Float32[np.ndarray, "height width"]


def known(rates: Rates) -> Bool[np.ndarray, "height width"]:
    """Where all members have data."""
    return np.asarray(np.isfinite(rates).all(axis=0))


def ensemble_mean(rates: Rates) -> Field:
    """The members' mean, mm/h: it has the least squared error, and is smoother than rain is."""
    return np.asarray(rates.mean(axis=0, dtype=np.float64), np.float32)


def probability_matched_mean(rates: Rates) -> Field:
    """Rain where the members' mean has it, with the rain rates that the members have, mm/h.

    All values of all members are ordered, and of each n in order (n members) the middle one is
    kept; the highest of these goes where the mean is highest, and so on. So the field is as wet
    and as peaked as the members are, and no longer a mean. Ebert 2001,
    doi:10.1175/1520-0493(2001)129<2461:AOAPMS>2.0.CO;2.
    """
    there = known(rates)
    count, pixels = len(rates), int(there.sum())
    values = rates[:, there].ravel()
    wet = np.sort(values[values > 0])  # most are dry, and need no sorting
    dry = values.size - wet.size
    middle = count // 2 + count * np.arange(pixels) - dry
    kept = np.where(middle >= 0, wet[np.maximum(middle, 0)] if wet.size else 0, 0)
    found = np.full(there.shape, np.nan, dtype=np.float32)
    inside = np.empty(pixels, dtype=np.float32)
    inside[np.argsort(ensemble_mean(rates)[there], kind="stable")] = kept
    found[there] = inside
    return found


def exceedance(
    rates: Rates, thresholds: Sequence[int | float]
) -> Float32[np.ndarray, "threshold height width"]:
    """Share of the members at or above each threshold, in [0, 1]."""
    missing = ~known(rates)
    shares = np.empty((len(thresholds), *missing.shape), dtype=np.float32)
    for share, threshold in zip(shares, thresholds, strict=True):
        share[:] = (rates >= threshold).mean(axis=0)
        share[missing] = np.nan
    return shares


def quantiles(
    rates: Rates, levels: Sequence[int | float]
) -> Float32[np.ndarray, "quantile height width"]:
    """The quantile of each level in [0, 1], linear between members (as `numpy.quantile`)."""
    missing = ~known(rates)
    ordered = np.sort(np.where(missing, 0, rates), axis=0)
    places = np.asarray(levels, dtype=np.float64) * (len(rates) - 1)
    found = np.empty((len(levels), *missing.shape), dtype=np.float32)
    for field, place in zip(found, places, strict=True):
        below = int(place)
        above = min(below + 1, len(rates) - 1)
        share = np.float32(place - below)
        field[:] = (1 - share) * ordered[below] + share * ordered[above]
        field[missing] = np.nan
    return found


def nearby_maximum(
    rates: Rates, radius_px: tuple[int | float, int | float]
) -> Float32[np.ndarray, "member height width"]:
    """The largest rate of each member within a radius of each pixel, over pixels with data.

    Args:
        rates: of the members.
        radius_px: in rows and in columns, which differ where pixels are not square; a pixel counts
            if its centre lies within.
    """
    half = [int(side + 1e-6) for side in radius_px]
    rows, columns = np.ogrid[-half[0] : half[0] + 1, -half[1] : half[1] + 1]
    scaled = [max(side, 1e-6) for side in radius_px]
    disc = (rows / scaled[0]) ** 2 + (columns / scaled[1]) ** 2 <= 1 + 1e-6
    missing = ~np.isfinite(rates)
    found = np.where(missing, -np.inf, rates).astype(np.float32)
    for member in found:
        member[:] = cv2.dilate(member, disc.astype(np.uint8))
    found[missing] = np.nan
    return found
