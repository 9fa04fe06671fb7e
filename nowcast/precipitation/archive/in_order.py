"""What a pack and a Zarr store share: frames in order of time in one array, read in runs."""

from abc import abstractmethod
from typing import Any

import numpy as np
from jaxtyping import Bool, UInt8

from nowcast.precipitation.archive.frames import FrameError, Moments
from nowcast.precipitation.archive.reader import ArchiveReader, FrameReader, Window


class ArchiveInOrder(ArchiveReader):
    """An archive whose n-th time is the n-th frame of an array; see `ArchiveReader`."""

    @abstractmethod
    def into(
        self,
        first: int,
        window: Window,
        levels: UInt8[np.ndarray, "time height width"],
        mask: Bool[np.ndarray, "time height width"] | None,
    ) -> None:
        """Consecutive frames from `first` on, and their masks unless None.

        Raises:
            DataError: they cannot be read whole.
        """

    def frame(self, moment: np.datetime64) -> UInt8[np.ndarray, "height width"]:
        """The 8-bit levels of one frame; raises `FrameError`."""
        return self._one(moment, None)

    def mask(self, moment: np.datetime64) -> Bool[np.ndarray, "height width"]:
        """The mask of one moment, True = use; raises `FrameError`."""
        mask = np.zeros((1, *self.shape), dtype=bool)
        self._one(moment, mask)
        return np.asarray(mask[0])

    def _one(
        self, moment: np.datetime64, mask: Bool[np.ndarray, "1 height width"] | None
    ) -> UInt8[np.ndarray, "height width"]:
        levels = np.zeros((1, *self.shape), dtype=np.uint8)
        whole = (slice(0, self.shape[0]), slice(0, self.shape[1]))
        (problem,) = self.reader(whole, 0).read(np.array([moment]), whole, levels, mask)
        if problem is not None:
            raise problem
        return np.asarray(levels[0])

    def reader(self, window: Window, cache_mb: int) -> FrameReader:
        """Reads runs of frames in one go; keeps nothing in memory."""
        del cache_mb
        return RunReader(self, window)

    def positions(self, moments: Moments) -> tuple[Any, Any]:
        """The index of each time among the frames, and whether it has one."""
        wanted = moments.astype("datetime64[m]")
        at = np.searchsorted(self.moments, wanted)
        return at, self.moments[np.minimum(at, len(self.moments) - 1)] == wanted


class RunReader:
    """Reads a window of an archive's frames; see `FrameReader`.

    Args:
        archive: the pack or store.
        window: rows and columns of what it holds.
    """

    def __init__(self, archive: ArchiveInOrder, window: Window) -> None:
        self._archive = archive
        self._corner = (window[0].start, window[1].start)

    def read(
        self,
        moments: Moments,
        part: Window,
        levels: UInt8[np.ndarray, "time height width"],
        mask: Bool[np.ndarray, "time height width"] | None,
    ) -> list[FrameError | None]:
        """See `FrameReader.read`; raises DataError where the archive is damaged."""
        rows, columns = (
            slice(axis.start + corner, axis.stop + corner)
            for axis, corner in zip(part, self._corner, strict=True)
        )
        at, there = self._archive.positions(moments)
        problems = [
            None if found else FrameError(f"{self._archive.root}: no frame at {moment}")
            for moment, found in zip(moments, there, strict=True)
        ]
        kept = np.flatnonzero(there)
        # Consecutive times are consecutive frames, so this is one pass as a rule. A time without a
        # frame ends a run, though the frames on both sides of it lie side by side.
        apart = (np.diff(at[kept]) != 1) | (np.diff(kept) != 1)
        for run in np.split(kept, np.flatnonzero(apart) + 1) if len(kept) else []:
            filled = slice(run[0], run[-1] + 1)
            own = None if mask is None else mask[filled]
            self._archive.into(int(at[run[0]]), (rows, columns), levels[filled], own)
        return problems
