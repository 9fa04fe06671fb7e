"""Rain in memory, read like an archive: the same checks, masks and forecasts."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool
from numpy.typing import NDArray

from nowcast.core.errors import ConfigError
from nowcast.precipitation.archive.description import Description, Grid
from nowcast.precipitation.archive.frames import FrameError, Moments
from nowcast.precipitation.archive.reader import Frame, Pixels, RadarFrames, recent_frames
from nowcast.precipitation.sources.conversion.target import Target
from nowcast.precipitation.sources.conversion.values import check_alike, checked
from nowcast.precipitation.sources.field import Field, Source
from nowcast.precipitation.sources.measure import LOWEST_DBZ, WORKS, measure
from nowcast.precipitation.units import Calibration, pixel_from_dbz

FILLS_DBZ = -900.0  # -999 and lower stand for no data, which is refused: say NaN


class ArrayFrames(RadarFrames):
    """The frames of a source at single precision, each read when it is asked for.

    Args:
        source: rain rates, sums or reflectivity; a sum that states no minutes is of one step.
        zr: a and b of ``Z = a R**b``; None: HKO-7's.

    Raises:
        ConfigError: the times are not evenly apart, or the Z-R relation is none.
    """

    def __init__(self, source: Source, zr: tuple[int | float, int | float] | None = None) -> None:
        self.root = Path(source.name)
        self.moments, step = _checked_times(source.times, len(source.times))
        self._source = source
        self._first = source.read(len(source) - 1)
        self._minutes = None
        self.notes = source.notes
        if self._first.unit == "mm":
            self._minutes = self._first.accumulation_minutes or float(step)
            if self._first.accumulation_minutes is None:
                self.notes += (f"rain sums taken over the step of {step} minutes",)
        height, width = self._first.values.shape
        try:
            self._calibration = Calibration() if zr is None else Calibration(*map(float, zr))
            self.description = Description(
                name=source.name,
                credit="not stated",
                step_minutes=step,
                height=height,
                width=width,
                zr_a=self._calibration.zr_a,
                zr_b=self._calibration.zr_b,
                grid=self._first.grid,
            )
        except ValueError as error:
            raise ConfigError(f"{source.name}: {error}") from error
        self.held = (0, height, 0, width)
        self._kept = recent_frames()

    @property
    def usable(self) -> Bool[np.ndarray, "height width"]:
        """Raises ConfigError: there is no exclude mask."""
        raise ConfigError(f"{self.root}: have no exclude mask, only NaN for no data")

    @property
    def has_masks(self) -> bool:
        """Always: NaN is no data."""
        return True

    def _at(self, moment: np.datetime64) -> Frame:
        position = int(np.searchsorted(self.moments, moment))
        if position == len(self.moments) or self.moments[position] != moment:
            raise FrameError(f"{self.root}: there is none of {moment}")
        return self._kept.get(position, lambda: self._frame(position))

    def _frame(self, position: int) -> Frame:
        where = self._source.where(position)
        field = self._source.read(position)
        check_alike(field, self._first, where)
        if field.unit != "dBZ" and bool((field.values < 0).any()):
            raise ConfigError(
                f"{self.root}: expected rain of 0 or more, found some below; of reflectivity, say "
                'unit="dBZ"'
            )
        if field.unit == "dBZ":  # of a rate of nearly 0, not measured
            tiny = (field.values > FILLS_DBZ) & (field.values < LOWEST_DBZ)
            field = replace(field, values=np.where(tiny, -np.inf, field.values))
        values = checked(field, self._minutes, where, Target())
        data = ~np.isnan(values)
        known = np.where(data, values, -np.inf if field.unit == "dBZ" else 0.0)
        to_pixel = pixel_from_dbz if field.unit == "dBZ" else self._calibration.pixel_from_rate
        return np.clip(to_pixel(known), 0, 1).astype(np.float32), data

    def frame(self, moment: np.datetime64) -> Pixels:
        """The pixels of one time, in [0, 1]; raises `FrameError`."""
        return self._at(moment)[0]

    def mask(self, moment: np.datetime64) -> Bool[np.ndarray, "height width"]:
        """Where the frame of one time has data; raises `FrameError`."""
        return self._at(moment)[1]


def source_of_array(
    frames: Any, times: Any, unit: str = "mm/h", grid: Grid | None = None
) -> Source:
    """An array of rain as a source.

    Args:
        frames: ``time height width``, row 0 north; NaN or masked is no data.
        times: valid time of each, UTC, ascending.
        unit: of the values, as `measure` reads it.
        grid: where the pixels lie; None where that is not known.

    Raises:
        ConfigError: shape, times or unit are none of those.
    """
    filled = np.ma.filled(np.ma.asarray(np.ma.asanyarray(frames), dtype=np.float64), np.nan)
    values: NDArray[np.float64] = np.asarray(filled)
    if values.ndim != 3 or not values.size:
        raise ConfigError(
            f"frames: expected an array time height width, found the shape {values.shape}"
        )
    moments, _ = _checked_times(times, len(values))
    try:
        found = measure(unit)
    except ValueError as error:
        raise ConfigError(f"unit: {error}; convert the values") from error
    if found is None:
        raise ConfigError(f"unit: expected {WORKS}; found {unit!r}")

    def read(position: int) -> Field:
        return Field(
            moments[position], found.convert(values[position]), found.unit, None, grid, found
        )

    return Source("frames", moments, read, lambda position: f"frames, position {position}")


def _checked_times(times: Any, count: int) -> tuple[Moments, int]:
    """The times in whole minutes, and the least number of minutes between two."""
    if times is None:
        raise ConfigError(
            "times: expected the valid time of each frame, UTC, found none; give e.g. "
            'numpy.arange("2024-07-01T10:00", "2024-07-01T10:50", 5, dtype="datetime64[m]")'
        )
    try:
        moments = np.asarray(times).astype("datetime64[m]")
    except (ValueError, TypeError) as error:
        raise ConfigError(f"times: expected dates and times, found {times!r:.80}") from error
    gaps = np.diff(moments).astype(int)
    if moments.shape != (count,) or count < 2 or not bool((gaps > 0).all()):
        raise ConfigError(
            f"times: expected {max(count, 2)} ascending times, one a frame, found {times!r:.80}; a "
            "forecast needs two frames or more"
        )
    step = int(gaps.min())
    if bool((gaps % step).any()):
        raise ConfigError(
            f"times: expected frames evenly apart (some may be missing), found gaps of "
            f"{', '.join(map(str, np.unique(gaps)))} minutes"
        )
    return moments, step
