"""One archive of a mixture: its clips at several speeds, its levels of one Z-R relation."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, UInt8

from nowcast.core.errors import ConfigError
from nowcast.precipitation.archive.frames import Moments
from nowcast.precipitation.clips.local_copy import read_near
from nowcast.precipitation.settings import DataSettings, SourceSettings, WindowSettings
from nowcast.precipitation.sources.stack.zarr_archive import open_archive
from nowcast.precipitation.units import Calibration, encode

Frames = tuple[UInt8[np.ndarray, "time height width"], Bool[np.ndarray, "time height width"]]


class MixtureSource:
    """One archive, its levels brought to a Z-R relation."""

    def __init__(
        self, settings: SourceSettings, data: DataSettings, calibration: Calibration
    ) -> None:
        self.settings = settings
        self.archive = open_archive(settings.root, settings.lists)
        if not self.archive.has_masks:
            raise ConfigError(
                f"{settings.root}: expected masks of frames, found none; estimate them with "
                "`nowcast data masks`"
            )
        height, width = self.archive.shape
        self._whole, self._data = (slice(0, height), slice(0, width)), data
        self._reader = self.archive.reader(self._whole, data.cache_mb)
        self._is_near = data.local_copy is None
        self._moments = self.archive.moments_of("train")
        self._starts: dict[tuple[int, int], Moments] = {}
        self._translated: UInt8[np.ndarray, " level"] | None = None
        if self.archive.calibration != calibration:
            rates = self.archive.calibration.rate_by_level()
            self._translated = encode(calibration.pixel_from_rate(rates))

    def bring_near(self) -> None:
        """See `Clips.bring_near`."""
        if not self._is_near:
            assert self._data.local_copy is not None
            near = read_near(self.archive, self._data.local_copy)
            self._reader = near.reader(self._whole, self._data.cache_mb)
            self._is_near = True

    def starts(self, speed: int, length: int) -> Moments:
        """First moments of the clips of which every frame is there."""
        key = speed, length
        if key not in self._starts:
            step = self.archive.step * speed
            whole = np.ones(len(self._moments), dtype=bool)
            for frame in range(1, length):
                whole &= np.isin(self._moments + frame * step, self._moments)
            self._starts[key] = self._moments[whole]
        return self._starts[key]

    @property
    def pixel_km(self) -> float | None:
        """Height of a pixel; None where neither settings nor archive say it."""
        return self.settings.pixel_km or self.archive.description.km_per_pixel

    def check(self, lengths: Sequence[int], windows: Sequence[WindowSettings]) -> None:
        """Raise ConfigError unless it has clips of one of the lengths, for one of the windows."""
        if not any(self.speeds(length) for length in lengths):
            raise ConfigError(
                f"{self.settings.root}: expected clips of {' or '.join(map(str, lengths))} frames "
                f"at one of the speeds {list(self.settings.speeds)} in its training days, found "
                f"{len(self._moments)} frames and no such run; shorten data.lengths, or leave the "
                "archive out"
            )
        if not any(self.resolutions(window) for window in windows):
            height, width = self.archive.shape
            raise ConfigError(
                f"{self.settings.root}: expected frames that fill a window of data.windows, found "
                f"{height}x{width}; add a smaller window, lower its fill, or leave the archive out"
            )

    def speeds(self, length: int) -> list[int]:
        """Those of its speeds at which it has clips of a length."""
        return [speed for speed in self.settings.speeds if len(self.starts(speed, length))]

    def resolutions(self, window: WindowSettings) -> list[int]:
        """See `WindowSettings.resolutions`."""
        return window.resolutions(self.archive.shape)

    def moments(self, rng: np.random.Generator, length: int) -> tuple[int, Moments]:
        """The speed and the times of a clip."""
        speed = int(rng.choice(self.speeds(length)))
        first = rng.choice(self.starts(speed, length))
        return speed, np.asarray(first + np.arange(length) * self.archive.step * speed)

    def read(self, moments: Moments, window: tuple[slice, slice]) -> Frames:
        """Frames and masks of a window; raises `FrameError` where a file is damaged."""
        shape = (len(moments), *(edge.stop - edge.start for edge in window))
        levels, mask = np.empty(shape, dtype=np.uint8), np.empty(shape, dtype=bool)
        for problem in self._reader.read(moments, window, levels, mask):
            if problem is not None:
                raise problem
        return (levels if self._translated is None else self._translated[levels]), mask
