"""The times of a stack of frames, each on a whole minute, and over how long each sums rain."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cftime
import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from nowcast.core.errors import DataError
from nowcast.precipitation.archive.frames import Moments
from nowcast.precipitation.sources.field import FIRST_YEAR, LAST_YEAR
from nowcast.precipitation.sources.hdf5 import attribute, check_array, child, text

_EPOCH = np.datetime64("1970-01-01", "m")


def plain_times(times: NDArray[Any], path: Path) -> Moments:
    """Times without a units attribute: datetime64, or whole minutes since 1970-01-01.

    Raises:
        DataError: they are something else, or no whole minutes of our days.
    """
    if times.ndim != 1:
        raise DataError(f"{path}: expected times with one axis, found the shape {times.shape}")
    if times.dtype.kind == "M":
        if np.isnat(times).any():
            raise DataError(
                f"{path}: expected a time for every frame, found none (NaT) at position "
                f"{int(np.isnat(times).argmax())}"
            )
        seconds = times.astype("datetime64[s]")
        return _whole_minutes(seconds.astype(np.int64) / 60, path)
    if times.dtype.kind not in "iu":
        raise DataError(
            f"{path}: expected datetime64 or whole minutes since 1970-01-01, found {times.dtype}"
        )
    return _whole_minutes(times.astype(np.float64), path)


@dataclass(frozen=True)
class StatedTimes:
    """Times of an HDF5 stack.

    Args:
        times: of the frames.
        ends: of the intervals that the frames hold for (CF's ``bounds``); None without any.
        minutes: that each interval has.
    """

    times: Moments
    ends: Moments | None = None
    minutes: Float[np.ndarray, " time"] | None = None


def stated_times(times: Any, path: Path) -> StatedTimes:
    """Times of an HDF5 dataset, as its ``units`` and ``calendar`` say; without units as above.

    Raises:
        DataError: the units are not understood, a calendar is not the true one, a time is none or
            off the minute, or an interval has no length.
    """
    check_array(times, 1, "(time)")
    moments = _decoded(times[...], times, path)
    if "bounds" not in times.attrs:
        return StatedTimes(moments)
    bounds = child(times.parent, text(times, "bounds"))
    check_array(bounds, 2, "(time, 2)")
    if bounds.shape != (len(moments), 2):
        raise DataError(
            f"{path}: expected bounds of the shape {(len(moments), 2)} in {bounds.name}, found "
            f"{bounds.shape}"
        )
    stating = bounds if "units" in bounds.attrs else times  # CF: as the times if not
    first, last = (_decoded(bounds[:, side], stating, path) for side in (0, 1))
    minutes = (last - first).astype(np.float64)
    if not (minutes > 0).all():
        position = int((minutes <= 0).argmax())
        raise DataError(
            f"{path}: expected intervals in {bounds.name} that end after they start, found "
            f"{first[position]} to {last[position]} at position {position}"
        )
    return StatedTimes(moments, last, minutes)


def _decoded(raw: NDArray[Any], times: Any, path: Path) -> Moments:
    if "units" not in times.attrs:
        return plain_times(raw, path)
    units = text(times, "units")
    calendar = str(attribute(times, "calendar")).lower() if "calendar" in times.attrs else None
    missing = ~np.isfinite(raw)
    for key in ("_FillValue", "missing_value"):
        if key in times.attrs:
            missing |= raw == attribute(times, key)
    if missing.any():
        raise DataError(
            f"{path}: expected times in {times.name}, found values that are not finite or missing "
            f"at position {int(missing.argmax())}"
        )
    try:
        found = cftime.num2pydate(raw, units, calendar or "standard")
    except (ValueError, OverflowError, TypeError) as error:
        raise DataError(
            f"{path}: expected units like 'minutes since 1970-01-01 00:00' of {times.name}, found "
            f"{units!r}{f' and the calendar {calendar!r}' if calendar else ''} ({error}); write "
            "the times as minutes since 1970 without the attribute"
        ) from error
    seconds = np.asarray(found, dtype="datetime64[ms]").astype(np.int64) / 1000
    return _whole_minutes(seconds / 60, path)


def _whole_minutes(minutes: Float[np.ndarray, " time"], path: Path) -> Moments:
    """Minutes since 1970 as times; off by less than a second is rounding, more an error."""
    nearest = np.rint(minutes)
    off = np.abs(minutes - nearest) > 1 / 61
    if off.any():
        raise DataError(
            f"{path}: expected times on whole minutes, found one with seconds at position "
            f"{int(off.argmax())}; round them first"
        )
    lowest, highest = (
        (np.datetime64(f"{year}-01-01", "m") - _EPOCH).astype(np.int64)
        for year in (FIRST_YEAR, LAST_YEAR)
    )
    out = (nearest < lowest) | (nearest >= highest)
    if out.any():
        position = int(out.argmax())
        raise DataError(
            f"{path}: expected minutes since 1970-01-01, found {nearest[position]:.0f} at position "
            f"{position}, which is no year of {FIRST_YEAR}-{LAST_YEAR}; are they seconds?"
        )
    return np.asarray(_EPOCH + nearest.astype(np.int64))
