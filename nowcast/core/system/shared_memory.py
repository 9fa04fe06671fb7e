"""Check that shared memory has room for the batches that worker processes read ahead.

Linux keeps it in /dev/shm, of which a container has 64 MiB by default. Once it is full, a worker's
write fails silently and the training process waits for its batch for ever.
"""

import os
from pathlib import Path

from rich.filesize import decimal

from nowcast.core.errors import RunError
from nowcast.core.system.distributed import local_ranks

SHARED = Path("/dev/shm")  # of Linux; other systems have no such limit to look at
AHEAD = 2  # batches that each worker reads ahead, see torch.utils.data.DataLoader
IN_HAND = 2  # batches that have arrived: one in use, and the next

_side_by_side = 1


def share_memory_with(processes: int) -> None:
    """Set how many processes read ahead at the same time, this one included."""
    global _side_by_side
    _side_by_side = processes


def check_shared_memory(workers: int, *batches: int) -> None:
    """Check that there is enough shared memory to read ahead.

    Args:
        workers: processes of each loader; with 0 nothing is shared.
        batches: bytes of a batch, for each loader that is open at the same time.

    Raises:
        RunError: less is free than the batches may take.
    """
    if not workers or not SHARED.is_dir() or not hasattr(os, "statvfs"):
        return
    processes = _side_by_side * local_ranks()
    count = AHEAD * workers + IN_HAND
    needed = processes * count * sum(batches)
    disk = os.statvfs(SHARED)
    free = disk.f_bavail * disk.f_frsize
    if free >= needed:
        return
    loaders = " and ".join(f"{count} of {decimal(batch)}" for batch in batches)
    times = f" in each of {processes} processes" if processes > 1 else ""
    raise RunError(
        f"train.workers: expected {decimal(needed)} of shared memory free in {SHARED} for the "
        f"batches that {workers} worker{'s' * (workers > 1)} read ahead ({loaders}{times}), found "
        f"{decimal(free)}; lower train.workers (with 0 this process reads and shares nothing) or "
        "train.batch_size, or allow more: a container has 64 MiB unless it is started with, e.g., "
        "`docker run --shm-size=8g`"
    )
