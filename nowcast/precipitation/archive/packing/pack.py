"""Packs an archive into one HDF5 file, part by part, so that it can be stopped and go on.

Parts lie in a folder beside the file until they are joined; each is written whole or not at all.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock

from nowcast.core.errors import ConfigError, RunError
from nowcast.core.storage.files import refused, write_text, write_whole
from nowcast.precipitation.archive.frames import Moments
from nowcast.precipitation.archive.packing.join import check_room, join
from nowcast.precipitation.archive.packing.parts import write_parts
from nowcast.precipitation.archive.packing.plan import Masks, make_plan
from nowcast.precipitation.archive.tree import Archive


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
    plan = make_plan(archive, crop, masks, codec, skipped)
    folder = out.with_name(f".{out.name}.parts")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _alone(folder / "lock", out):
            _claim(folder / "plan.txt", plan.identity())
            write_parts(plan, folder, workers, progress)
            check_room(folder)
            write_whole(out, lambda temporary: join(plan, archive, folder, temporary))
            shutil.rmtree(folder)
    except (OSError, RuntimeError) as error:  # h5py raises either where HDF5 cannot write
        done = len(list(folder.glob("*.h5"))) if folder.is_dir() else 0
        if not done:
            shutil.rmtree(folder, ignore_errors=True)
            raise refused(out, error) from error
        raise RunError(
            f"{refused(out, error)}. {done} of {plan.parts} parts are kept in {folder}: the same "
            "command goes on from them, or remove that folder"
        ) from error


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
