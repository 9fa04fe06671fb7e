"""Moments become clips of `in_len + out_len` frames that stay within their split and step."""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Int64, UInt8
from torch.utils.data import Dataset

from nowcast.core.errors import ConfigError, DataError
from nowcast.core.sampling import draws
from nowcast.precipitation.archive import Archive
from nowcast.precipitation.balance import pixel_thresholds
from nowcast.precipitation.batch import RadarBatch
from nowcast.precipitation.days import Split
from nowcast.precipitation.frames import FrameError, Moments
from nowcast.precipitation.settings import DataSettings
from nowcast.precipitation.units import PIXEL_LEVELS


def episodes(moments: Moments, step: np.timedelta64, max_missing: int) -> list[Moments]:
    """Split moments where more than `max_missing` frames in a row are missing, or the time is off
    the step."""
    gaps = np.diff(moments)
    breaks = (gaps > step * (max_missing + 1)) | (gaps % step != np.timedelta64(0, "m"))
    return np.split(moments, np.flatnonzero(breaks) + 1) if len(moments) else []


def clip_starts(
    moments: Moments, step: np.timedelta64, length: int, stride: int, max_missing: int
) -> Moments:
    """First moments of all clips of `length` frames, every `stride` steps within each episode.

    A clip starts with a frame that is there, and ends no later than its episode.
    """
    starts: list[Moments] = []
    for episode in episodes(moments, step, max_missing):
        last = episode[-1] - step * (length - 1)
        grid = np.arange(episode[0], last + step, step * stride)
        starts.append(grid[np.isin(grid, episode)])
    if not starts:
        return moments[:0]
    return np.concatenate(starts)


@dataclass(frozen=True)
class Draw:
    """Which clip, and for a random crop where its corner lies."""

    clip: int
    row: int = 0
    column: int = 0


@dataclass(frozen=True)
class Clip:
    """One clip as arrays; see `RadarBatch` for their meaning."""

    levels: UInt8[np.ndarray, "time 1 height width"]
    mask: Bool[np.ndarray, "time 1 height width"]
    times: Int64[np.ndarray, " time"]
    missing: Bool[np.ndarray, " time"]


class Clips(Dataset[Clip]):
    """The clips of one split of an archive, read on demand, frames kept in memory up to a limit.

    Args:
        archive: where the frames are.
        split: ``train``, ``valid`` or ``test``.
        settings: lengths, crop and masks.
        stride: frames between clip starts.
        random_crop: (height, width) of a window in the crop, whose corner each draw names.
        min_wet: leave out clips with a smaller wet share.

    Raises:
        ConfigError: the split holds no clip of that length, or the crop leaves the frame.
    """

    def __init__(
        self,
        archive: Archive,
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
        self.present = set(moments.astype(np.int64).tolist())
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
        self.crop = _crop_slices(settings, archive.shape)
        self.random_crop = random_crop
        self.usable = archive.usable[self.crop] if settings.masks != "frame" else None
        self._cache: OrderedDict[int, tuple[np.ndarray, np.ndarray] | FrameError] = OrderedDict()
        self._cache_limit = settings.cache_mb * 2**20 // (2 * self.height * self.width)
        if min_wet > 0:
            self.starts = self._wet_starts(min_wet)

    def _wet_starts(self, least: float) -> Moments:
        wet = np.array([self.wet_share(clip) for clip in range(len(self))])
        if not (wet >= least).any():
            raise ConfigError(
                f"{self.archive.root}: no clip has the wet share data.min_wet: {least}; the "
                f"wettest has {wet.max():.3f}"
            )
        return self.starts[wet >= least]

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

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, draw: Draw) -> Clip:
        """Read one clip.

        Raises:
            DataError: a file is absent or damaged, and `max_missing` does not allow for it.
        """
        times = (self.starts[draw.clip] + self.archive.step * np.arange(self.length)).astype(
            "datetime64[m]"
        )
        size = self.frame_size
        window = (
            slice(draw.row, draw.row + size[0]),
            slice(draw.column, draw.column + size[1]),
        )
        levels = np.zeros((self.length, 1, *size), dtype=np.uint8)
        mask = np.zeros((self.length, 1, *size), dtype=bool)
        missing = np.zeros(self.length, dtype=bool)
        run = 0
        for position, moment in enumerate(times):
            found = self._read(moment)
            if isinstance(found, FrameError):
                run += 1
                if run > self.settings.max_missing:
                    raise DataError(
                        f"{found} (data.max_missing allows {self.settings.max_missing} in a row)"
                    ) from found
                missing[position] = True
                if position:
                    levels[position] = levels[position - 1]
            else:
                run = 0
                levels[position, 0] = found[0][window]
                mask[position, 0] = found[1][window]
        return Clip(levels, mask, times.astype(np.int64), missing)

    def wet_share(self, clip: int) -> float:
        """Share of the unmasked pixels at or above the lowest threshold, in the last input frame;
        0 where that frame is missing."""
        found = self._read(self.starts[clip] + self.archive.step * (self.settings.in_len - 1))
        if isinstance(found, FrameError):
            return 0.0
        levels, mask = found
        lowest = pixel_thresholds(self.archive.calibration)[0] * PIXEL_LEVELS
        return float(((levels >= lowest) & mask).sum() / max(mask.sum(), 1))

    def wettest(self, count: int) -> list[int]:
        """Clips with the largest wet share, no two of them overlapping."""
        wet = [self.wet_share(clip) for clip in range(len(self))]
        chosen: list[int] = []
        apart = self.archive.step * self.length
        for clip in np.argsort(wet)[::-1]:
            if len(chosen) < count and all(
                abs(self.starts[clip] - self.starts[other]) >= apart for other in chosen
            ):
                chosen.append(int(clip))
        return chosen

    def _read(self, moment: np.datetime64) -> tuple[np.ndarray, np.ndarray] | FrameError:
        """Frame and mask of a moment, cropped, or why there is none."""
        key = int(moment.astype(np.int64))
        if key in self._cache:
            self._cache.move_to_end(key)
            return self._cache[key]
        entry: tuple[np.ndarray, np.ndarray] | FrameError
        try:
            if key not in self.present:
                raise FrameError(f"{self.archive.root}: no frame at {moment}")
            frame = self.archive.frame(moment)[self.crop]
            entry = (np.ascontiguousarray(frame), self._mask(moment))
        except FrameError as error:
            entry = error
        self._cache[key] = entry
        if len(self._cache) > self._cache_limit:
            self._cache.popitem(last=False)
        return entry

    def _mask(self, moment: np.datetime64) -> Bool[np.ndarray, "height width"]:
        if self.settings.masks == "exclude":
            assert self.usable is not None
            return self.usable
        mask = self.archive.mask(moment)[self.crop]
        return mask if self.usable is None else mask & self.usable


def collate(clips: Sequence[Clip], in_len: int) -> RadarBatch:
    """Clips as one batch of tensors."""
    return RadarBatch(
        torch.from_numpy(np.stack([clip.levels for clip in clips])),
        torch.from_numpy(np.stack([clip.mask for clip in clips])),
        torch.from_numpy(np.stack([clip.times for clip in clips])),
        torch.from_numpy(np.stack([clip.missing for clip in clips])),
        in_len,
    )


def training_draws(
    clips: Clips, batch_size: int, seed: int, start: int, rank: int, ranks: int
) -> Iterator[list[Draw]]:
    """For each step from `start` on, this rank's share of the clips drawn at that step.

    Uniform over clips and, with `random_crop`, over where the crop fits; a function of
    (seed, step) alone, so a resumed run and every number of ranks see the same rain.
    """
    height, width = clips.frame_size
    population = (len(clips), clips.height - height + 1, clips.width - width + 1)
    step = start
    while True:
        rows = draws(seed, step, batch_size, population)[rank::ranks]
        yield [Draw(*map(int, row)) for row in rows]
        step += 1


def evaluation_draws(clips: Clips, batch_size: int, rank: int, ranks: int) -> Iterator[list[Draw]]:
    """This rank's share of all clips, each once and none padded; the last batch may be short."""
    mine = range(rank, len(clips), ranks)
    for first in range(0, len(mine), batch_size):
        yield [Draw(clip) for clip in mine[first : first + batch_size]]


def _crop_slices(settings: DataSettings, shape: tuple[int, int]) -> tuple[slice, slice]:
    top, bottom, left, right = settings.crop_bounds or (0, shape[0], 0, shape[1])
    if bottom > shape[0] or right > shape[1]:
        raise ConfigError(
            f"data.crop [{top}, {bottom}, {left}, {right}] leaves the archive's frames of "
            f"{shape[0]}x{shape[1]}; choose rows up to {shape[0]} and columns up to {shape[1]}"
        )
    random_crop = settings.random_crop
    if random_crop and (random_crop[0] > bottom - top or random_crop[1] > right - left):
        raise ConfigError(
            f"data.random_crop {list(random_crop)} does not fit the {bottom - top}x{right - left} "
            "pixels left by data.crop"
        )
    return slice(top, bottom), slice(left, right)
