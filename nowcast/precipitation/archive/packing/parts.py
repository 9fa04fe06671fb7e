"""The frames of a pack part by part, decoded side by side, so that packing can be stopped."""

import io
import signal
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

import h5py
import numpy as np

from nowcast.core.storage.files import write_whole
from nowcast.precipitation.archive import frames
from nowcast.precipitation.archive.packing.plan import Plan


def write_parts(
    plan: Plan, folder: Path, workers: int, progress: Callable[[int, int], None] | None
) -> None:
    """Write the parts that are not in the folder yet, each whole or not at all.

    Args:
        plan: what is packed.
        folder: where parts lie.
        workers: processes that decode.
        progress: called with (frames packed, frames in all).

    Raises:
        DataError: a frame or mask is damaged.
        OSError: a part cannot be written.
    """
    waiting = [number for number in range(plan.parts) if not part_path(folder, number).is_file()]
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


def part_path(folder: Path, number: int) -> Path:
    """Where a part lies until it is joined."""
    return folder / f"{number:06d}.h5"


def _write_part(plan: Plan, number: int, folder: Path) -> int:
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
        part_path(folder, number), lambda temporary: _write_bytes(temporary, image.getbuffer())
    )
    return number


def _write_bytes(path: Path, data: memoryview) -> None:
    path.write_bytes(data)
