"""The machine: when and where something was measured, and how much memory is free or taken."""

import os
import platform
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import torch


def when_and_where() -> dict[str, str]:
    """Date (UTC) and machine."""
    threads = torch.get_num_threads()
    place = (
        torch.cuda.get_device_name()
        if torch.cuda.is_available()
        else f"{threads} CPU thread{'s' * (threads > 1)}"
    )
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "machine": f"{platform.system()} {platform.machine()}, {place}, torch {torch.__version__}",
    }


def available_bytes(
    meminfo: Path = Path("/proc/meminfo"), limit: Path = Path("/sys/fs/cgroup/memory.max")
) -> int | None:
    """Memory that a process can still have, within its container's limit; None where the system
    does not tell, as outside Linux."""
    try:
        lines = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
        free = 1024 * int(lines["MemAvailable"].split()[0])
    except (OSError, KeyError, ValueError):
        return None
    try:
        return min(free, int(limit.read_text()))
    except (OSError, ValueError):  # none, or "max"
        return free


def resident_bytes(pids: Iterable[int]) -> int | None:
    """Memory that processes have now, those that have ended left out; None where the system does
    not tell, as outside Linux."""
    if not Path("/proc/self/statm").is_file():
        return None
    pages = 0
    for pid in pids:
        with suppress(OSError):
            pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
