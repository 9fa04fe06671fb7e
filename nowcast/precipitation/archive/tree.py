"""An archive as a tree of PNG files in the HKO-7 layout.

``archive.json`` at the root states name, credit, step, frame size and Z-R relation. HKO-7 has no
such file, so without one the step and the frame size are read off the frames and the Z-R relation
is HKO-7's; `Archive.origin` says which it was.
"""

from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, UInt8

from nowcast.core.errors import ConfigError, DataError
from nowcast.core.storage.recent import Recent
from nowcast.precipitation.archive import days, frames, index, masks
from nowcast.precipitation.archive.days import Split
from nowcast.precipitation.archive.description import DESCRIPTION, LONGEST_STEP_MINUTES, Description
from nowcast.precipitation.archive.frames import FrameError, Moments
from nowcast.precipitation.archive.reader import ArchiveReader, Window
from nowcast.precipitation.units import Calibration

ERROR_BYTES = 1000  # of why there is no frame, about


class Archive(ArchiveReader):
    """A tree of frames and masks, opened for reading; see `ArchiveReader`.

    Args:
        root: the folder that holds ``radarPNG/``, or a parent or child of it as HKO-7 comes
            (`frames.locate`).
        lists: the folder of the day lists and ``mask_dat.npz``; without it ``hko_data`` in the
            root, or the root itself where they lie there.

    Raises:
        ConfigError: there is no archive at `root`.
        DataError: ``archive.json`` is malformed or a frame's name contradicts its folder.
    """

    def __init__(self, root: Path, lists: Path | None = None) -> None:
        self.root = frames.locate(root)
        self.lists = frames.locate_lists(self.root) if lists is None else lists
        self.moments = index.moments(self.root)
        path = self.root / DESCRIPTION
        if path.is_file():
            self.description = _read_description(path)
            self.origin = DESCRIPTION
        else:
            self.description = _infer_description(self.root, self.moments)
            self.origin = "read off the frames; Z-R of HKO-7"
        self.held = (0, self.description.height, 0, self.description.width)

    def frame(self, moment: np.datetime64) -> UInt8[np.ndarray, "height width"]:
        """The 8-bit levels of one frame; raises `frames.FrameError` as `frames.read_frame`."""
        return frames.read_frame(frames.frame_path(self.root, moment), self.shape)

    def mask(self, moment: np.datetime64) -> Bool[np.ndarray, "height width"]:
        """The mask of one moment, True = use; raises `frames.FrameError` as `frames.read_mask`."""
        return frames.read_mask(frames.mask_path(self.root, moment), self.shape)

    @cached_property
    def usable(self) -> Bool[np.ndarray, "height width"]:
        """The exclude mask, True = use; raises as `masks.read_exclude`."""
        return masks.read_exclude(self.lists, self.shape)

    @cached_property
    def days(self) -> dict[Split, dict[str, float]]:
        """The day lists of the three splits; raises as `days.read_splits`."""
        return days.read_splits(self.lists)

    @property
    def has_masks(self) -> bool:
        """True if there is a ``radarPNG_mask`` folder."""
        return (self.root / frames.MASK_FOLDER).is_dir()

    def reader(self, window: Window, cache_mb: int) -> "TreeReader":
        """Decodes files, and keeps the last ones it read."""
        return TreeReader(self, window, cache_mb)


class TreeReader:
    """Reads a window of a tree's frames; those read last stay in memory. See `FrameReader`.

    Args:
        archive: the tree.
        window: rows and columns.
        cache_mb: memory for frames and masks, MB.
    """

    def __init__(self, archive: Archive, window: Window, cache_mb: int) -> None:
        self._archive = archive
        self._window = window
        self._kept: Recent[tuple[str, int], np.ndarray | FrameError] = Recent(
            cache_mb * 2**20, lambda found: getattr(found, "nbytes", ERROR_BYTES)
        )

    def read(
        self,
        moments: Moments,
        part: Window,
        levels: UInt8[np.ndarray, "time height width"],
        mask: Bool[np.ndarray, "time height width"] | None,
    ) -> list[FrameError | None]:
        """See `FrameReader.read`."""
        return [
            self._read_one(moment, part, levels[at], None if mask is None else mask[at])
            for at, moment in enumerate(moments)
        ]

    def _read_one(
        self,
        moment: np.datetime64,
        part: Window,
        levels: UInt8[np.ndarray, "height width"],
        mask: Bool[np.ndarray, "height width"] | None,
    ) -> FrameError | None:
        frame = self._cached("frame", moment)
        if isinstance(frame, FrameError):
            return frame
        if mask is not None:
            own = self._cached("mask", moment)
            if isinstance(own, FrameError):
                return own
            mask[:] = own[part]
        levels[:] = frame[part]
        return None

    def _cached(self, kind: Literal["frame", "mask"], moment: np.datetime64) -> Any:
        """The window of a frame or mask, or why there is none."""

        def read() -> np.ndarray | FrameError:
            try:
                own = self._archive.frame if kind == "frame" else self._archive.mask
                return np.ascontiguousarray(own(moment)[self._window])
            except FrameError as error:
                return error

        return self._kept.get((kind, int(moment.astype(np.int64))), read)


def _read_description(path: Path) -> Description:
    try:
        return Description.from_json(path.read_text())
    except ValueError as error:
        raise DataError(f"{path}: {error}; correct it, or make the archive again") from error


def _infer_description(root: Path, moments: Moments) -> Description:
    if len(moments) < 2:
        raise ConfigError(
            f"{root}: the step between frames cannot be read off a single frame; write it into "
            f"{DESCRIPTION}"
        )
    gap = index.commonest_gap(moments)
    step_minutes = int(gap / np.timedelta64(1, "m"))
    if step_minutes > LONGEST_STEP_MINUTES:
        raise ConfigError(
            f"{root}: expected frames at most {LONGEST_STEP_MINUTES} minutes apart, found "
            f"{step_minutes} most often; write the step into {DESCRIPTION}"
        )
    height, width = frames.frame_shape(frames.frame_path(root, moments[0]))
    return Description(
        name=root.resolve().name,
        credit="not stated",
        step_minutes=step_minutes,
        height=height,
        width=width,
        zr_a=Calibration.zr_a,
        zr_b=Calibration.zr_b,
    )
