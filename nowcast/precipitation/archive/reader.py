"""What every archive answers, whether it is a tree of files or one packed file."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from nowcast.core.storage.recent import Recent
from nowcast.precipitation.archive.days import Split
from nowcast.precipitation.archive.description import Description
from nowcast.precipitation.archive.frames import FrameError, Moments
from nowcast.precipitation.units import Calibration

Pixels = Float32[np.ndarray, "height width"]
Frame = tuple[Pixels, Bool[np.ndarray, "height width"]]  # and where it has data, True = use
Window = tuple[slice, slice]  # rows and columns, both with start and stop
KEPT_BYTES = 2**28  # of decoded frames, which a forecast reads more than once


@runtime_checkable
class FrameReader(Protocol):
    """Reads one window of one archive, frame after frame."""

    def read(
        self,
        moments: Moments,
        part: Window,
        levels: UInt8[np.ndarray, "time height width"],
        mask: Bool[np.ndarray, "time height width"] | None,
    ) -> list[FrameError | None]:
        """Fill in what there is of the frames of some moments.

        Args:
            moments: ascending.
            part: what is wanted of the reader's window.
            levels: 8-bit levels go here.
            mask: the frames' own masks (True = use) go here; None where they are not wanted.

        Returns:
            For each time None, or why there is no frame; nothing is filled in then.
        """
        ...


def recent_frames() -> Recent[Any, Frame]:
    """Keeps the frames that were decoded last, by any key."""
    return Recent(KEPT_BYTES, lambda frame: frame[0].nbytes + frame[1].nbytes)


class RadarFrames(ABC):
    """Frames of one radar by their times: an archive, files as a radar sends them, or an array.

    Attributes:
        root: where they lie.
        description: what their numbers mean; height and width are those of the whole frame.
        moments: all times that have a frame, ascending.
        held: (top, bottom, left, right) of what it holds of the whole frame.
        notes: what a user must know of them, a sentence each.
    """

    root: Path
    description: Description
    moments: Moments
    held: tuple[int, int, int, int]
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.root)!r}, {len(self.moments)} frames)"

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) of every frame it gives."""
        top, bottom, left, right = self.held
        return bottom - top, right - left

    @property
    def step(self) -> np.timedelta64:
        """Time between frames."""
        return np.timedelta64(self.description.step_minutes, "m")

    @property
    def calibration(self) -> Calibration:
        """The Z-R relation of its pixels."""
        return self.description.calibration

    @property
    @abstractmethod
    def usable(self) -> Bool[np.ndarray, "height width"]:
        """The exclude mask, True = use; raises as `masks.read_exclude`."""

    @property
    @abstractmethod
    def has_masks(self) -> bool:
        """True if frames have masks of their own."""

    @abstractmethod
    def frame(self, moment: np.datetime64) -> UInt8[np.ndarray, "height width"] | Pixels:
        """One frame: 8-bit levels (uint8), or pixels in [0, 1] where it is held finer (float32);
        raises `FrameError`."""

    @abstractmethod
    def mask(self, moment: np.datetime64) -> Bool[np.ndarray, "height width"]:
        """The mask of one moment, True = use; raises `FrameError`."""


class ArchiveReader(RadarFrames):
    """A radar archive, opened for reading: frames of 8-bit levels, with lists of days.

    Attributes:
        origin: where the description comes from.
    """

    origin: str

    def moments_of(self, split: Split) -> Moments:
        """The times that have a frame and lie in the days of a split, ascending."""
        wanted = np.array(
            [f"{day[:4]}-{day[4:6]}-{day[6:]}" for day in self.days[split]], dtype="datetime64[D]"
        )
        return self.moments[np.isin(self.moments.astype("datetime64[D]"), wanted)]

    @property
    @abstractmethod
    def days(self) -> Mapping[Split, Mapping[str, float]]:
        """The day lists of the three splits; raises as `days.read_splits`."""

    @abstractmethod
    def frame(self, moment: np.datetime64) -> UInt8[np.ndarray, "height width"]:
        """The 8-bit levels of one frame; raises `FrameError`."""

    @abstractmethod
    def reader(self, window: Window, cache_mb: int) -> FrameReader:
        """Reads a window of what the archive holds; what it may keep in memory is `cache_mb`."""
