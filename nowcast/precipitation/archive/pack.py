"""Packs an archive into one HDF5 file, in one pass; `packed` has the layout and reads it."""

import hashlib
import io
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
from jaxtyping import UInt8

from nowcast import __version__
from nowcast.core.errors import ConfigError
from nowcast.core.storage.files import write_whole
from nowcast.core.system.threads import in_order
from nowcast.precipitation.archive.days import SPLITS
from nowcast.precipitation.archive.frames import MASK_FOLDER, Moments
from nowcast.precipitation.archive.packed import CODECS, FORMAT, Pack
from nowcast.precipitation.archive.reader import ArchiveReader

CHUNK_BYTES = 2**17  # before compression: a clip is some chunks, a window few bytes more

Crop = tuple[int, int, int, int]
Masks = Literal["frame", "exclude", "both"]


def pack(
    archive: ArchiveReader,
    out: Path,
    *,
    crop: Crop | None = None,
    masks: Masks = "both",
    codec: str = "lz4",
    skipped: Moments | None = None,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Pack the days of an archive's lists into one HDF5 file, in place when it is whole.

    Args:
        archive: a tree or a Zarr store.
        out: the file to make.
        crop: (top, bottom, left, right) of what is kept of each frame; None keeps all.
        masks: which masks the pack can give; ``exclude`` leaves those of single frames out.
        codec: of `packed.CODECS`.
        skipped: times that are left out (a quarantine).
        workers: threads that decode.
        progress: called with (frames packed, frames in all).

    Raises:
        ConfigError: `out` exists, the crop leaves the frame, or the archive has no such masks or
            no days.
        DataError: a frame or mask is damaged, or a day list.
        OutputError: the file cannot be written (disk full).
    """
    if out.exists():
        raise ConfigError(f"{out}: expected a new file to write, found one; choose another name")
    top, bottom, left, right = held = _checked(archive, crop)
    if masks != "exclude" and not archive.has_masks:
        raise ConfigError(
            f"{archive.root}: expected masks of frames, found no {MASK_FOLDER}/ folder; "
            "pack with --masks exclude, or estimate them with `nowcast data masks`"
        )
    window = np.s_[top:bottom, left:right]
    usable = None if masks == "frame" else archive.usable[window]
    moments = _listed(archive, skipped)

    def decode(
        moment: np.datetime64,
    ) -> tuple[UInt8[np.ndarray, "height width"], UInt8[np.ndarray, "bytes"] | None]:
        """Levels, and the packed mask; None where that is the exclude mask."""
        levels = archive.frame(moment)[window]
        if masks == "exclude":
            return levels, None
        mask = archive.mask(moment)[window]
        same = usable is not None and np.array_equal(mask, usable)
        return levels, None if same else np.packbits(mask)

    def write(path: Path) -> None:
        shape = (bottom - top, right - left)
        with _Target(path) as target:
            with h5py.File(target, "w") as file:
                file.attrs.update(_origin(archive, held))
                levels = _Rows(file, "levels", shape, codec, "8-bit levels: 255 * (dBZ + 10) / 70")
                if masks != "exclude":
                    packed = (-(-shape[0] * shape[1] // 8),)
                    distinct = _Rows(file, "masks", packed, codec, "bits by rows, 1 = use")
                mask_of = np.full(len(moments), -1, dtype=np.int32)
                rows: dict[bytes, int] = {}
                # Threads: the decoders let others run.
                for position, (frame, mask) in enumerate(in_order(decode, moments, workers)):
                    levels.add(frame)
                    if mask is not None:
                        key = hashlib.sha256(mask.tobytes()).digest()
                        if key not in rows:
                            rows[key] = len(rows)
                            distinct.add(mask)
                        mask_of[position] = rows[key]
                    target.check()
                    if progress is not None:
                        progress(position + 1, len(moments))
                levels.flush()
                if masks != "exclude":
                    distinct.flush()
                    file["mask_of"] = mask_of
                times = file.create_dataset("times", data=moments.astype(np.int64))
                times.attrs["units"] = "minutes since 1970-01-01 00:00 UTC"
                if usable is not None:
                    file.create_dataset("usable", data=usable.astype(np.uint8), compression="gzip")
                for split in SPLITS:
                    file[f"days/{split}"] = _day_table(archive.days[split])
            target.check()
        Pack(path)

    if progress is not None:
        progress(0, len(moments))
    write_whole(out, write)


def _checked(archive: ArchiveReader, crop: Crop | None) -> Crop:
    height, width = archive.shape
    held = crop or (0, height, 0, width)
    if not (0 <= held[0] < held[1] <= height and 0 <= held[2] < held[3] <= width):
        raise ConfigError(
            f"--crop {list(held)}: expected rows and columns of frames of {height}x{width}, first "
            "before last"
        )
    return held


def _listed(archive: ArchiveReader, skipped: Moments | None) -> Moments:
    moments = np.sort(np.concatenate([archive.moments_of(split) for split in SPLITS]))
    if skipped is not None:
        moments = moments[~np.isin(moments, skipped)]
    if not len(moments):
        raise ConfigError(
            f"{archive.root}: expected days with frames in the three lists, found none; make the "
            f"lists with `nowcast data days {archive.root}`"
        )
    return moments


def _origin(archive: ArchiveReader, held: Crop) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "description": archive.description.to_json(),
        "held": held,
        "root": str(archive.root.resolve()),
        "described_by": archive.origin,
        "made": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC by nowcast {__version__}",
    }


def _day_table(days: Mapping[str, float]) -> np.ndarray:
    rows = [(int(day), depth) for day, depth in sorted(days.items())]
    return np.array(rows, dtype=[("day", np.int32), ("mm", np.float64)])


class _Rows:
    """A dataset of uint8 that grows by whole chunks, which have checksums."""

    def __init__(
        self, file: h5py.File, name: str, shape: tuple[int, ...], codec: str, units: str
    ) -> None:
        self._chunk = max(1, CHUNK_BYTES // int(np.prod(shape)))
        self._waiting: list[np.ndarray] = []
        self._dataset = file.create_dataset(
            name,
            shape=(0, *shape),
            maxshape=(None, *shape),
            dtype=np.uint8,
            chunks=(self._chunk, *shape),
            fletcher32=True,
            **CODECS[codec],
        )
        self._dataset.attrs["units"] = units

    def add(self, row: np.ndarray) -> None:
        """One more row, written when a chunk is full."""
        self._waiting.append(row)
        if len(self._waiting) == self._chunk:
            self.flush()

    def flush(self) -> None:
        """Write what waits for a full chunk."""
        if self._waiting:
            start = len(self._dataset)
            self._dataset.resize(start + len(self._waiting), axis=0)
            self._dataset[start:] = np.stack(self._waiting)
            self._waiting.clear()


class _Target(io.FileIO):
    """A file that takes whatever HDF5 writes; `check` raises what the system refused.

    HDF5 that meets a full disk cannot close its file and brings the process down later.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, "w+")
        self._refusal: OSError | None = None

    def write(self, data: Any) -> int:
        """As of any file, but never fails."""
        view = memoryview(data)
        try:
            while self._refusal is None and len(view):
                view = view[super().write(view) :]
        except OSError as error:
            self._refusal = error
        return len(data)

    def truncate(self, size: int | None = None) -> int:
        """As of any file, but never fails."""
        try:
            return super().truncate(size) if self._refusal is None else size or 0
        except OSError as error:
            self._refusal = error
            return size or 0

    def check(self) -> None:
        """Raise what the system refused."""
        if self._refusal is not None:
            raise self._refusal
