"""One archive of a mixture: its clips at several speeds, its levels of one Z-R relation."""

import numpy as np
from jaxtyping import Bool, UInt8

from nowcast.core.errors import ConfigError
from nowcast.precipitation.archive.frames import Moments
from nowcast.precipitation.archive.packed import open_archive
from nowcast.precipitation.settings import DataSettings, SourceSettings
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
        self._reader = self.archive.reader((slice(0, height), slice(0, width)), data.cache_mb)
        self._moments = self.archive.moments_of("train")
        self._starts: dict[tuple[int, int], Moments] = {}
        self._translated: UInt8[np.ndarray, " level"] | None = None
        if self.archive.calibration != calibration:
            rates = self.archive.calibration.rate_by_level()
            self._translated = encode(calibration.pixel_from_rate(rates))

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

    def speeds(self, length: int) -> list[int]:
        """Those of its speeds at which it has clips of a length; ConfigError if none."""
        found = [speed for speed in self.settings.speeds if len(self.starts(speed, length))]
        if not found:
            raise ConfigError(
                f"{self.settings.root}: expected clips of {length} frames at one of the speeds "
                f"{list(self.settings.speeds)} in its training days, found {len(self._moments)} "
                "frames and no such run; shorten data.lengths, or leave the archive out"
            )
        return found

    def moments(self, rng: np.random.Generator, length: int) -> Moments:
        """Those of a clip."""
        speed = int(rng.choice(self.speeds(length)))
        first = rng.choice(self.starts(speed, length))
        return np.asarray(first + np.arange(length) * self.archive.step * speed)

    def read(self, moments: Moments, window: tuple[slice, slice]) -> Frames:
        """Frames and masks of a window; raises `FrameError` where a file is damaged."""
        shape = (len(moments), *(edge.stop - edge.start for edge in window))
        levels, mask = np.empty(shape, dtype=np.uint8), np.empty(shape, dtype=bool)
        for problem in self._reader.read(moments, window, levels, mask):
            if problem is not None:
                raise problem
        return (levels if self._translated is None else self._translated[levels]), mask
