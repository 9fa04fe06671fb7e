"""Whether batches that worker processes read ahead have room on their way to this one.

They go through shared memory, which Linux keeps in /dev/shm. Where it is full a worker's write
fails unheard, and the training process waits for its batch for ever; a container has 64 MiB of it
unless it is told otherwise.
"""

import os
from pathlib import Path

from nowcast.core.errors import RunError
from nowcast.core.system.distributed import local_ranks
from nowcast.core.training.guards import size

SHARED = Path("/dev/shm")  # of Linux; other systems have no such limit to look at
AHEAD = 2  # batches that each worker reads ahead, see torch.utils.data.DataLoader
IN_HAND = 2  # and those that have come: one in use, and one that is next

_side_by_side = 1


def share_memory_with(processes: int) -> None:
    """Say how many processes like this one, itself among them, read ahead at the same time."""
    global _side_by_side
    _side_by_side = processes


def check_shared_memory(workers: int, *batches: int) -> None:
    """Refuse to read ahead what there is no shared memory for.

    Args:
        workers: processes that each loader has; without any nothing is shared.
        batches: bytes of a batch of each loader that is open at the same time.

    Raises:
        RunError: less is free than they may take.
    """
    if not workers or not SHARED.is_dir() or not hasattr(os, "statvfs"):
        return
    processes = _side_by_side * local_ranks()
    count = AHEAD * workers + IN_HAND
    needed = processes * count * sum(batches)
    found = os.statvfs(SHARED)
    free = found.f_bavail * found.f_frsize
    if free >= needed:
        return
    loaders = " and ".join(f"{count} of {size(batch)}" for batch in batches)
    times = f" in each of {processes} processes" if processes > 1 else ""
    raise RunError(
        f"train.workers: expected {size(needed)} of shared memory free in {SHARED} for the batches "
        f"that {workers} worker{'s' * (workers > 1)} read ahead ({loaders}{times}), found "
        f"{size(free)}; lower train.workers (with 0 this process reads, and shares nothing) or "
        "train.batch_size, or allow more: a container has 64 MiB unless it is started with, e.g., "
        "`docker run --shm-size=8g`"
    )
