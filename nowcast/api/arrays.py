"""Rain as an array in memory, read like an archive: the same checks, masks and forecasts."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, UInt8
from numpy.typing import NDArray

from nowcast.core.errors import ConfigError
from nowcast.precipitation.archive.days import Split
from nowcast.precipitation.archive.description import Description, Grid
from nowcast.precipitation.archive.frames import FrameError, Moments
from nowcast.precipitation.archive.reader import ArchiveReader, FrameReader, Window
from nowcast.precipitation.units import Calibration, encode, pixel_from_dbz


class ArrayArchive(ArchiveReader):
    """Frames of an array as an archive without day lists.

    Args:
        levels: 8-bit levels.
        masks: True = data.
        times: valid time of each, ascending.
        description: what the levels mean.
    """

    def __init__(
        self,
        levels: UInt8[np.ndarray, "time height width"],
        masks: Bool[np.ndarray, "time height width"],
        times: Moments,
        description: Description,
    ) -> None:
        self.root, self.origin = Path("frames"), "an array"
        self.moments, self.description = times, description
        self.held = (0, description.height, 0, description.width)
        self._levels, self._masks = levels, masks

    @property
    def days(self) -> Mapping[Split, Mapping[str, float]]:
        """No days."""
        return {"train": {}, "valid": {}, "test": {}}

    @property
    def usable(self) -> Bool[np.ndarray, "height width"]:
        """Raises ConfigError: there is no exclude mask."""
        raise ConfigError(f"{self.root}: have no exclude mask, only NaN for no data")

    @property
    def has_masks(self) -> bool:
        """Always: NaN is no data."""
        return True

    def _position(self, moment: np.datetime64) -> int:
        position = int(np.searchsorted(self.moments, moment))
        if position == len(self.moments) or self.moments[position] != moment:
            raise FrameError(f"{self.root}: there is none of {moment}")
        return position

    def frame(self, moment: np.datetime64) -> UInt8[np.ndarray, "height width"]:
        """The levels of one time; raises `FrameError`."""
        return np.asarray(self._levels[self._position(moment)])

    def mask(self, moment: np.datetime64) -> Bool[np.ndarray, "height width"]:
        """Where the frame of one time has data; raises `FrameError`."""
        return np.asarray(self._masks[self._position(moment)])

    def reader(self, window: Window, cache_mb: int) -> FrameReader:
        """Raises ConfigError: clips are drawn from archives on disk."""
        raise ConfigError("frames: expected an archive to draw clips from, found an array")


def array_archive(
    frames: Any,
    times: Any,
    unit: str = "mm/h",
    zr: tuple[int | float, int | float] | None = None,
    grid: Grid | None = None,
) -> ArrayArchive:
    """An array of rain as an archive.

    Args:
        frames: rain rates in mm/h or reflectivity in dBZ, ``time height width``, row 0 north; NaN
            or masked is no data. An xarray.DataArray brings its times along.
        times: valid time of each, UTC, ascending; None takes the coordinate ``time`` of `frames`.
        unit: of the values.
        zr: a and b of ``Z = a R**b``; None: HKO-7's.
        grid: where the pixels lie; None where that is not known.

    Raises:
        ConfigError: shape, times or values are none of those.
    """
    if times is None and "time" in getattr(frames, "coords", ()):
        times = frames.coords["time"].values
    filled = np.ma.filled(np.ma.asarray(np.ma.asanyarray(frames), dtype=np.float64), np.nan)
    values: NDArray[np.float64] = np.asarray(filled)
    if values.ndim != 3 or not values.size:
        raise ConfigError(
            f"frames: expected an array time height width, found the shape {values.shape}"
        )
    moments, step = _checked_times(times, len(values))
    if unit not in ("mm/h", "dBZ"):
        raise ConfigError(f"unit: expected mm/h or dBZ, found {unit!r}; convert the values")
    data = np.isfinite(values)
    if unit == "mm/h" and bool((values[data] < 0).any()):
        raise ConfigError(
            "frames: expected rain rates of 0 mm/h or more, found some below; of reflectivity, say "
            'unit="dBZ"'
        )
    try:
        calibration = Calibration() if zr is None else Calibration(float(zr[0]), float(zr[1]))
        description = Description(
            name="frames",
            credit="not stated",
            step_minutes=step,
            height=values.shape[1],
            width=values.shape[2],
            zr_a=calibration.zr_a,
            zr_b=calibration.zr_b,
            grid=grid,
        )
    except ValueError as error:
        raise ConfigError(f"frames: {error}") from error
    known = np.where(data, values, 0.0 if unit == "mm/h" else -np.inf)
    pixels = calibration.pixel_from_rate(known) if unit == "mm/h" else pixel_from_dbz(known)
    return ArrayArchive(encode(pixels), data, moments, description)


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
