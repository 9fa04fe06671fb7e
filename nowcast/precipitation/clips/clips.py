"""Clips of `in_len + out_len` frames that stay within their split and step, read on demand."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float64, Int64, UInt8
from torch.utils.data import Dataset

from nowcast.core.errors import ConfigError, DataError
from nowcast.precipitation.archive.days import Split
from nowcast.precipitation.archive.description import Description
from nowcast.precipitation.archive.frames import Moments
from nowcast.precipitation.archive.quarantine import read_quarantine
from nowcast.precipitation.archive.reader import ArchiveReader, Window
from nowcast.precipitation.clips.batch import RadarBatch, clip_bytes
from nowcast.precipitation.clips.draws import Draw
from nowcast.precipitation.clips.local_copy import read_near
from nowcast.precipitation.clips.starts import blocks, clip_starts, episode_starts
from nowcast.precipitation.settings import DataSettings
from nowcast.precipitation.units import PIXEL_LEVELS
from nowcast.precipitation.verification.balance import pixel_thresholds


@dataclass(frozen=True)
class Clip:
    """One clip as arrays; see `RadarBatch` for their meaning."""

    levels: UInt8[np.ndarray, "time 1 height width"]
    mask: Bool[np.ndarray, "time 1 height width"]
    times: Int64[np.ndarray, " time"]
    missing: Bool[np.ndarray, " time"]


class Clips(Dataset[Clip]):
    """The clips of one split of an archive, read on demand.

    Args:
        archive: where the frames are, a tree or a pack.
        split: ``train``, ``valid`` or ``test``.
        settings: lengths, crop and masks.
        stride: frames between clip starts.
        random_crop: (height, width) of a window in the crop, whose corner each draw names.
        min_wet: leave out clips with a smaller wet share.

    Attributes:
        blocks: of each clip, when its block began: clips of one block are of one rain and not
            independent of each other.

    Raises:
        ConfigError: the split holds no clip of that length, the crop leaves the frame or what the
            archive holds of it, or masks are wanted that it does not have.
    """

    def __init__(
        self,
        archive: ArchiveReader,
        split: Split,
        settings: DataSettings,
        stride: int,
        random_crop: tuple[int, int] | None = None,
        min_wet: float = 0.0,
    ) -> None:
        self.archive = archive
        self.settings = settings
        self.split = split
        self.length = settings.in_len + settings.out_len
        moments = archive.moments_of(split)
        if settings.quarantine is not None:
            moments = moments[~np.isin(moments, read_quarantine(settings.quarantine))]
        self.present = moments.astype(np.int64)
        self.stride = stride
        self.starts = clip_starts(
            moments, archive.step, self.length, self.stride, settings.max_missing
        )
        if not len(self.starts):
            raise ConfigError(
                f"{archive.root}: expected clips of {self.length} frames in the {split} days, "
                f"found {len(moments)} frames and no run of that length; shorten data.in_len or "
                f"data.out_len, allow data.max_missing, or add days to the {split} list"
            )
        self.blocks = blocks(self.starts, self.episode_starts())
        self.crop = _crop(settings, archive)
        self.random_crop = random_crop
        if settings.masks != "exclude" and not archive.has_masks:
            raise ConfigError(
                f"{archive.root}: expected masks of frames as data.masks: {settings.masks} says, "
                "found none; set data.masks: exclude, or estimate them with `nowcast data masks`"
            )
        self.usable = archive.usable[self.crop] if settings.masks != "frame" else None
        self._reader = archive.reader(self.crop, settings.cache_mb)
        self._is_near = settings.local_copy is None
        self._wet: Float64[np.ndarray, " clip"] | None = None
        if min_wet > 0:
            self._keep_wet(min_wet)

    def bring_near(self) -> None:
        """Read from now on from the copy that `data.local_copy` wants; raises as `read_near`."""
        if not self._is_near:
            assert self.settings.local_copy is not None
            near = read_near(self.archive, self.settings.local_copy)
            self._reader = near.reader(self.crop, self.settings.cache_mb)
            self._is_near = True

    def _keep_wet(self, least: float) -> None:
        self.bring_near()
        wet = self.wet_shares()
        if not (wet >= least).any():
            raise ConfigError(
                f"{self.archive.root}: no clip has the wet share data.min_wet: {least}; the "
                f"wettest has {wet.max():.3f}"
            )
        kept = wet >= least
        self.starts, self.blocks, self._wet = self.starts[kept], self.blocks[kept], wet[kept]

    @property
    def height(self) -> int:
        """Rows after the crop."""
        return int(self.crop[0].stop - self.crop[0].start)

    @property
    def width(self) -> int:
        """Columns after the crop."""
        return int(self.crop[1].stop - self.crop[1].start)

    @property
    def frame_size(self) -> tuple[int, int]:
        """(height, width) of the frames in a clip."""
        return self.random_crop or (self.height, self.width)

    @property
    def description(self) -> Description:
        """Of what the crop leaves of the archive's frames."""
        top, left = (
            axis.start + corner
            for axis, corner in zip(self.crop, self.archive.held[::2], strict=True)
        )
        return self.archive.description.part(top, left, self.height, self.width)

    def fingerprint(self) -> str:
        """What tells these clips from others: a hash of archive, times, window and masks."""
        settings, description = self.settings, self.archive.description
        what = (
            description.name,
            description.step_minutes,
            [
                (axis.start + corner, axis.stop + corner)
                for axis, corner in zip(self.crop, self.archive.held[::2], strict=True)
            ],
            settings.masks,
            settings.in_len,
            settings.out_len,
            settings.max_missing,
        )
        times = self.starts.astype("<M8[m]").tobytes()
        return hashlib.sha256(repr(what).encode() + times).hexdigest()[:16]

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, draw: Draw) -> Clip:
        """Read one clip; raises as `batch`."""
        one = self.batch([draw])
        return Clip(*(array[0].numpy() for array in (one.levels, one.mask, one.times, one.missing)))

    def __getitems__(self, draws: Sequence[Draw]) -> RadarBatch:
        """What `torch.utils.data.DataLoader` calls for a whole batch."""
        return self.batch(draws)

    def batch(self, draws: Sequence[Draw]) -> RadarBatch:
        """Read clips, straight into the tensors of their batch.

        Raises:
            DataError: a file is absent or damaged, and `max_missing` does not allow for it.
        """
        shape = (len(draws), self.length, 1, *self.frame_size)
        levels = torch.empty(shape, dtype=torch.uint8)
        mask = torch.empty(shape, dtype=torch.bool)
        missing = torch.empty(shape[:2], dtype=torch.bool)
        times = np.stack([self.times(draw.clip) for draw in draws]).astype(np.int64)
        for position, draw in enumerate(draws):
            self._fill(
                draw,
                levels[position, :, 0].numpy(),
                mask[position, :, 0].numpy(),
                missing[position].numpy(),
            )
        weighted = any(draw.weight != 1 for draw in draws)
        weight = torch.tensor([draw.weight for draw in draws]) if weighted else None
        return RadarBatch(
            levels, mask, torch.from_numpy(times), missing, self.settings.in_len, weight
        )

    def batch_bytes(self, count: int) -> int:
        """What the tensors of a batch of so many clips take; see `RadarBatch`."""
        return clip_bytes(count, self.length, *self.frame_size)

    def between(self, first: np.datetime64, last: np.datetime64) -> Clip:
        """All frames from one time to another, cropped and masked as those of the clips are;
        raises as `batch`."""
        times = np.arange(first, last + self.archive.step, self.archive.step)
        levels = np.empty((len(times), 1, self.height, self.width), dtype=np.uint8)
        mask = np.empty_like(levels, dtype=bool)
        missing = np.empty(len(times), dtype=bool)
        whole = (slice(0, self.height), slice(0, self.width))
        self._read(times, whole, levels[:, 0], mask[:, 0], missing)
        return Clip(levels, mask, times.astype(np.int64), missing)

    def frame_times(self) -> Moments:
        """Of all frames that clips have, ascending."""
        times = self.starts[:, None] + self.archive.step * np.arange(self.length)
        return np.unique(times.astype("datetime64[m]"))

    def frames(
        self, times: Moments
    ) -> tuple[UInt8[np.ndarray, "time height width"], Bool[np.ndarray, "time height width"]]:
        """Frames and masks of ascending times, cropped and masked as those of the clips are; raises
        as `batch`."""
        levels = np.empty((len(times), self.height, self.width), dtype=np.uint8)
        mask = np.empty_like(levels, dtype=bool)
        whole = (slice(0, self.height), slice(0, self.width))
        self._read(times, whole, levels, mask, np.empty(len(times), dtype=bool))
        return levels, mask

    def episode_starts(self) -> Moments:
        """Of each clip the first time of its episode."""
        moments = self.present.astype("datetime64[m]")
        return episode_starts(self.starts, moments, self.archive.step, self.settings.max_missing)

    def times(self, clip: int) -> Moments:
        """Of the frames of a clip."""
        times = self.starts[clip] + self.archive.step * np.arange(self.length)
        return np.asarray(times, dtype="datetime64[m]")

    def _fill(
        self,
        draw: Draw,
        levels: UInt8[np.ndarray, "time height width"],
        mask: Bool[np.ndarray, "time height width"],
        missing: Bool[np.ndarray, " time"],
    ) -> None:
        """Read a clip into these arrays, turned and mirrored as its draw says."""
        height, width = self.frame_size
        part = (slice(draw.row, draw.row + height), slice(draw.column, draw.column + width))
        self._read(self.times(draw.clip), part, draw.view(levels), draw.view(mask), missing)

    def _read(
        self,
        times: Moments,
        part: Window,
        levels: UInt8[np.ndarray, "time height width"],
        mask: Bool[np.ndarray, "time height width"],
        missing: Bool[np.ndarray, " time"],
    ) -> None:
        """Read consecutive frames; a missing one repeats the frame before it, its mask False."""
        minutes = times.astype(np.int64)
        found_at = np.searchsorted(self.present, minutes)
        missing[:] = self.present[np.minimum(found_at, len(self.present) - 1)] != minutes
        reasons: dict[int, str] = {}
        own = None if self.usable is not None and self.settings.masks == "exclude" else mask
        for first, last in _runs(~missing):
            into = None if own is None else own[first:last]
            found = self._reader.read(times[first:last], part, levels[first:last], into)
            for at, problem in enumerate(found, start=first):
                if problem is not None:
                    reasons[at] = str(problem)
                    missing[at] = True
        run = 0
        for at in np.flatnonzero(missing).tolist():
            run = run + 1 if at and missing[at - 1] else 1
            if run > self.settings.max_missing:
                reason = reasons.get(at, f"{self.archive.root}: no frame at {times[at]}")
                raise DataError(
                    f"{reason} (data.max_missing allows {self.settings.max_missing} in a row)"
                )
            levels[at] = levels[at - 1] if at else 0
            mask[at] = False
        if self.usable is not None:
            if own is None:
                mask[~missing] = self.usable[part]
            else:
                mask &= self.usable[part]

    def wet_shares(self) -> Float64[np.ndarray, " clip"]:
        """Of each clip the share of the unmasked pixels at or above the lowest threshold, in the
        last input frame; 0 where that frame is missing. Reads one frame a clip, once."""
        if self._wet is None:
            self._wet = self._read_wet_shares()
        return self._wet

    def _read_wet_shares(self) -> Float64[np.ndarray, " clip"]:
        lowest = pixel_thresholds(self.archive.calibration)[0] * PIXEL_LEVELS
        whole = (slice(0, self.height), slice(0, self.width))
        shares = np.zeros(len(self))
        levels = np.zeros((1, self.height, self.width), dtype=np.uint8)
        for clip in range(len(self)):
            last = self.times(clip)[self.settings.in_len - 1 :][:1]
            mask = np.zeros_like(levels, dtype=bool)
            try:
                self._read(last, whole, levels, mask, np.zeros(1, dtype=bool))
            except DataError:
                continue
            shares[clip] = ((levels >= lowest) & mask).sum() / max(mask.sum(), 1)
        return shares

    def wettest(self, count: int) -> list[int]:
        """Clips with the largest wet share, no two of them overlapping."""
        chosen: list[int] = []
        apart = self.archive.step * self.length
        for clip in np.argsort(self.wet_shares())[::-1]:
            if len(chosen) < count and all(
                abs(self.starts[clip] - self.starts[other]) >= apart for other in chosen
            ):
                chosen.append(int(clip))
        return chosen


def _runs(there: Bool[np.ndarray, " time"]) -> list[tuple[int, int]]:
    """(first, end) of each unbroken run of True."""
    edges = np.flatnonzero(np.diff(there, prepend=False, append=False))
    return [(int(first), int(end)) for first, end in zip(edges[::2], edges[1::2], strict=True)]


def _crop(settings: DataSettings, archive: ArchiveReader) -> Window:
    """The rows and columns of the settings' crop, in what the archive holds."""
    height, width = archive.description.height, archive.description.width
    top, bottom, left, right = settings.crop_bounds or (0, height, 0, width)
    if bottom > height or right > width:
        raise ConfigError(
            f"data.crop [{top}, {bottom}, {left}, {right}] leaves the archive's frames of "
            f"{height}x{width}; choose rows up to {height} and columns up to {width}"
        )
    held = archive.held
    if top < held[0] or bottom > held[1] or left < held[2] or right > held[3]:
        raise ConfigError(
            f"{archive.root}: expected rows {top}:{bottom} and columns {left}:{right} as data.crop "
            f"says, and only rows {held[0]}:{held[1]} and columns {held[2]}:{held[3]} were packed; "
            f"set data.crop to {list(held)}, or pack the archive again"
        )
    random_crop = None if settings.sources else settings.random_crop  # a mixture pads to it
    if random_crop and (random_crop[0] > bottom - top or random_crop[1] > right - left):
        raise ConfigError(
            f"data.random_crop {list(random_crop)} does not fit the {bottom - top}x{right - left} "
            "pixels left by data.crop"
        )
    return slice(top - held[0], bottom - held[0]), slice(left - held[2], right - held[2])
