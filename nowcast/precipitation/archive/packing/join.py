"""Parts of a pack joined into one file: chunks are copied as they are, shared masks become one."""

import errno
import hashlib
import os
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from nowcast import __version__
from nowcast.precipitation.archive.days import SPLITS
from nowcast.precipitation.archive.packed import CODECS, FORMAT, Pack
from nowcast.precipitation.archive.packing.parts import part_path
from nowcast.precipitation.archive.packing.plan import CHUNK_BYTES, Plan
from nowcast.precipitation.archive.tree import Archive


def check_room(folder: Path) -> None:
    """Raise `OSError` unless the joined file has room beside its parts."""
    needed = sum(path.stat().st_size for path in folder.glob("*.h5"))
    if shutil.disk_usage(folder).free < 1.05 * needed:
        raise OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)}: {needed / 2**20:.0f} MB needed")


def join(plan: Plan, archive: Archive, folder: Path, path: Path) -> None:
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


def _origin(plan: Plan, archive: Archive) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "description": archive.description.to_json(),
        "held": plan.held,
        "root": str(plan.root),
        "described_by": archive.origin,
        "identity": plan.identity(),
        "made": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC by nowcast {__version__}",
    }


def _copy_levels(plan: Plan, folder: Path, levels: h5py.Dataset) -> None:
    for number in range(plan.parts):
        with h5py.File(part_path(folder, number)) as part:
            source = part["levels"]
            offset = number * plan.frames_per_part
            for first in range(0, len(source), plan.frames_per_chunk):
                filters, chunk = source.id.read_direct_chunk((first, 0, 0))
                levels.id.write_direct_chunk((offset + first, 0, 0), chunk, filters)


def _copy_masks(plan: Plan, folder: Path, file: h5py.File) -> None:
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
        with h5py.File(part_path(folder, number)) as part:
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
