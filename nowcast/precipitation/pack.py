"""Packs an archive into one HDF5 file, part by part, so that it can be stopped and go on.

Parts lie in a folder beside the file until they are joined; each is written whole or not at all.
"""

import errno
import hashlib
import io
import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal

import filelock
import h5py
import numpy as np
from jaxtyping import Bool

from nowcast.core.errors import ConfigError, RunError
from nowcast.core.files import write_text, write_whole
from nowcast.precipitation import frames
from nowcast.precipitation.archive import Archive
from nowcast.precipitation.days import SPLITS
from nowcast.precipitation.frames import Moments
from nowcast.precipitation.store import CODECS, FORMAT, Pack

CHUNK_BYTES = 2**17  # of frames before compression: a clip is some chunks, a window few bytes more
PART_BYTES = 2**26  # of frames before compression: what a process holds in memory

Masks = Literal["frame", "exclude", "both"]


@dataclass(frozen=True)
class _Plan:
    """What is packed, and how; what two calls must agree on to share parts."""

    root: Path
    shape: tuple[int, int]
    held: tuple[int, int, int, int]
    codec: str
    with_masks: bool
    usable: Bool[np.ndarray, "height width"] | None
    moments: Moments
    history: str
    part_bytes: int

    @property
    def frames_per_chunk(self) -> int:
        return max(1, CHUNK_BYTES // self.pixels)

    @property
    def _size(self) -> tuple[int, int]:
        top, bottom, left, right = self.held
        return bottom - top, right - left

    @property
    def frames_per_part(self) -> int:
        """A multiple of the frames in a chunk."""
        chunks = max(1, self.part_bytes // (self.pixels * self.frames_per_chunk))
        return chunks * self.frames_per_chunk

    @property
    def pixels(self) -> int:
        """Of a packed frame."""
        height, width = self._size
        return height * width

    def part(self, number: int) -> Moments:
        """The moments of a part."""
        return self.moments[number * self.frames_per_part :][: self.frames_per_part]

    @property
    def parts(self) -> int:
        """How many there are."""
        return -(-len(self.moments) // self.frames_per_part)

    def levels(self, file: h5py.File, count: int) -> h5py.Dataset:
        """The empty dataset of so many frames, chunks with checksums."""
        return file.create_dataset(
            "levels",
            shape=(count, *self._size),
            maxshape=(None, *self._size),  # a chunk may hold more frames than there are
            dtype=np.uint8,
            chunks=(self.frames_per_chunk, *self._size),
            fletcher32=True,
            **CODECS[self.codec],
        )

    def identity(self) -> str:
        """A digest of all of it."""
        digest = hashlib.sha256(self.moments.astype(np.int64).tobytes())
        if self.usable is not None:
            digest.update(np.packbits(self.usable).tobytes())
        digest.update(
            json.dumps(
                [
                    str(self.root),
                    self.shape,
                    self.held,
                    self.codec,
                    self.with_masks,
                    self.history,
                    self.part_bytes,
                ]
            ).encode()
        )
        return digest.hexdigest()


def pack(
    archive: Archive,
    out: Path,
    *,
    crop: tuple[int, int, int, int] | None = None,
    masks: Masks = "both",
    codec: str = "lz4",
    skipped: Moments | None = None,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Pack the days of an archive's lists into one HDF5 file; see `store` for its layout.

    Called again after it was stopped, it goes on with the parts that are missing.

    Args:
        archive: the tree.
        out: the file to make.
        crop: (top, bottom, left, right) of what is kept of each frame; None keeps all.
        masks: which masks the pack can give; ``exclude`` leaves those of single frames out.
        codec: of `store.CODECS`.
        skipped: moments that are left out (a quarantine).
        workers: processes that decode.
        progress: called with (frames packed, frames in all).

    Raises:
        ConfigError: `out` exists, the crop leaves the frame, or the archive has no such masks.
        DataError: a frame or mask is damaged, or a day list.
        RunError: another process packs the same file, or it cannot be written (disk full).
    """
    if out.exists():
        raise ConfigError(f"{out}: expected a new file to write, found one; choose another name")
    plan = _plan(archive, crop, masks, codec, skipped)
    folder = out.with_name(f".{out.name}.parts")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _alone(folder / "lock", out):
            _claim(folder / "plan.txt", plan.identity())
            _write_parts(plan, folder, workers, progress)
            _check_room(folder)
            write_whole(out, lambda temporary: _join(plan, archive, folder, temporary))
            shutil.rmtree(folder)
    except (OSError, RuntimeError) as error:  # h5py raises either where HDF5 cannot write
        done = len(list(folder.glob("*.h5")))
        raise RunError(
            f"{out}: could not be written ({error}); {done} of {plan.parts} parts are kept in "
            f"{folder}: make room and give the same command to go on, or remove that folder"
        ) from error


def _plan(
    archive: Archive,
    crop: tuple[int, int, int, int] | None,
    masks: Masks,
    codec: str,
    skipped: Moments | None,
) -> _Plan:
    height, width = archive.shape
    held = crop or (0, height, 0, width)
    if not (0 <= held[0] < held[1] <= height and 0 <= held[2] < held[3] <= width):
        raise ConfigError(
            f"--crop {list(held)}: expected rows and columns of frames of {height}x{width}, first "
            "before last"
        )
    if masks != "exclude" and not archive.has_masks:
        raise ConfigError(
            f"{archive.root}: expected masks of frames, found no {frames.MASK_FOLDER}/ folder; "
            "pack with --masks exclude, or estimate them with `nowcast data masks`"
        )
    moments = np.sort(np.concatenate([archive.moments_of(split) for split in SPLITS]))
    if skipped is not None:
        moments = moments[~np.isin(moments, skipped)]
    if not len(moments):
        raise ConfigError(
            f"{archive.lists}: expected days with frames in the three lists, found none; make the "
            f"lists with `nowcast data days {archive.root}`"
        )
    return _Plan(
        archive.root.resolve(),
        archive.shape,
        held,
        codec,
        masks != "exclude",
        None if masks == "frame" else archive.usable[held[0] : held[1], held[2] : held[3]],
        moments,
        archive.description.to_json(),
        PART_BYTES,
    )


@contextmanager
def _alone(lock: Path, out: Path) -> Iterator[None]:
    try:
        with filelock.FileLock(lock, timeout=0):
            yield
    except filelock.Timeout as error:
        raise RunError(
            f"{out}: another process is packing this file; wait for it, or choose another name"
        ) from error


def _claim(path: Path, identity: str) -> None:
    """Parts of another plan are not joined with ours."""
    if path.is_file() and path.read_text() != identity:
        raise ConfigError(
            f"{path.parent}: holds parts of a pack with other frames or options, left by a process "
            "that was stopped; repeat its command, or remove the folder"
        )
    write_text(path, identity)


def _write_parts(
    plan: _Plan, folder: Path, workers: int, progress: Callable[[int, int], None] | None
) -> None:
    waiting = [number for number in range(plan.parts) if not _part_path(folder, number).is_file()]
    done = len(plan.moments) - sum(len(plan.part(number)) for number in waiting)

    def say(number: int | None) -> None:
        nonlocal done
        done += 0 if number is None else len(plan.part(number))
        if progress is not None:
            progress(done, len(plan.moments))

    say(None)
    if min(workers, len(waiting)) < 2:
        for number in waiting:
            _write_part(plan, number, folder)
            say(number)
        return
    # spawn: a fork would copy what other threads hold locked.
    with ProcessPoolExecutor(workers, get_context("spawn"), _ignore_interrupts) as pool:
        try:
            for future in as_completed(
                [pool.submit(_write_part, plan, number, folder) for number in waiting]
            ):
                say(future.result())
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _ignore_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer


def _part_path(folder: Path, number: int) -> Path:
    return folder / f"{number:06d}.h5"


def _write_part(plan: _Plan, number: int, folder: Path) -> int:
    """Decode the frames of a part and write them as an HDF5 file of their own."""
    moments = plan.part(number)
    top, bottom, left, right = plan.held
    window = np.s_[top:bottom, left:right]
    levels = np.empty((len(moments), bottom - top, right - left), dtype=np.uint8)
    mask_of = np.full(len(moments), -1, dtype=np.int32)
    distinct: dict[bytes, int] = {}
    for at, moment in enumerate(moments):
        levels[at] = frames.read_frame(frames.frame_path(plan.root, moment), plan.shape)[window]
        if plan.with_masks:
            mask = frames.read_mask(frames.mask_path(plan.root, moment), plan.shape)[window]
            if plan.usable is None or not np.array_equal(mask, plan.usable):
                mask_of[at] = distinct.setdefault(np.packbits(mask).tobytes(), len(distinct))

    # In memory first: HDF5 cannot close a file on a full disk.
    image = io.BytesIO()
    with h5py.File(image, "w") as file:
        plan.levels(file, len(moments))[...] = levels
        file["mask_of"] = mask_of
        file["masks"] = np.array([np.frombuffer(mask, np.uint8) for mask in distinct], np.uint8)
    write_whole(
        _part_path(folder, number), lambda temporary: _write_bytes(temporary, image.getbuffer())
    )
    return number


def _write_bytes(path: Path, data: memoryview) -> None:
    path.write_bytes(data)


def _check_room(folder: Path) -> None:
    """Raise OSError unless the joined file has room beside its parts."""
    needed = sum(path.stat().st_size for path in folder.glob("*.h5"))
    if shutil.disk_usage(folder).free < 1.05 * needed:
        raise OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)}: {needed / 2**20:.0f} MB needed")


def _join(plan: _Plan, archive: Archive, folder: Path, path: Path) -> None:
    """Copy the compressed chunks of all parts into one file, and check that it can be opened."""
    with h5py.File(path, "w") as file:
        file.attrs.update(_origin(plan, archive))
        levels = plan.levels(file, len(plan.moments))
        levels.attrs["units"] = "8-bit levels: 255 * (dBZ + 10) / 70"
        times = file.create_dataset("times", data=plan.moments.astype(np.int64))
        times.attrs["units"] = "minutes since 1970-01-01 00:00 UTC"
        _copy_levels(plan, folder, levels)
        if plan.with_masks:
            _copy_masks(plan, folder, file)
        if plan.usable is not None:
            file.create_dataset("usable", data=plan.usable.astype(np.uint8), compression="gzip")
        for split in SPLITS:
            file[f"days/{split}"] = _day_table(archive.days[split])
    Pack(path)


def _origin(plan: _Plan, archive: Archive) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "description": archive.description.to_json(),
        "held": plan.held,
        "root": str(plan.root),
        "described_by": archive.origin,
        "identity": plan.identity(),
        "made": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC by nowcast {version('nowcast')}",
    }


def _copy_levels(plan: _Plan, folder: Path, levels: h5py.Dataset) -> None:
    for number in range(plan.parts):
        with h5py.File(_part_path(folder, number)) as part:
            source = part["levels"]
            offset = number * plan.frames_per_part
            for first in range(0, len(source), plan.frames_per_chunk):
                filters, chunk = source.id.read_direct_chunk((first, 0, 0))
                levels.id.write_direct_chunk((offset + first, 0, 0), chunk, filters)


def _copy_masks(plan: _Plan, folder: Path, file: h5py.File) -> None:
    """Masks that several parts share become one."""
    size = -(-plan.pixels // 8)
    masks = file.create_dataset(
        "masks",
        shape=(0, size),
        maxshape=(None, size),
        dtype=np.uint8,
        chunks=(max(1, CHUNK_BYTES // size), size),
        fletcher32=True,
        **CODECS[plan.codec],
    )
    masks.attrs["units"] = "bits by rows, 1 = use"
    mask_of = np.full(len(plan.moments), -1, dtype=np.int32)
    rows: dict[bytes, int] = {}
    for number in range(plan.parts):
        with h5py.File(_part_path(folder, number)) as part:
            own, new = part["mask_of"][...], []
            row_of = np.zeros(len(part["masks"]) + 1, dtype=np.int32)
            row_of[-1] = -1
            for at, mask in enumerate(part["masks"][...]):
                key = hashlib.sha256(mask.tobytes()).digest()
                if key not in rows:
                    rows[key] = len(rows)
                    new.append(mask)
                row_of[at] = rows[key]
            mask_of[number * plan.frames_per_part :][: len(own)] = row_of[own]
            if new:
                masks.resize(len(rows), axis=0)
                masks[len(rows) - len(new) :] = np.stack(new)
    file["mask_of"] = mask_of


def _day_table(days: Mapping[str, float]) -> np.ndarray:
    rows = [(int(day), depth) for day, depth in sorted(days.items())]
    return np.array(rows, dtype=[("day", np.int32), ("mm", np.float64)])
