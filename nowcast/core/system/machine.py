"""The machine: when and where something was measured, its processors and its memory."""

import math
import os
import platform
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import torch


def when_and_where() -> dict[str, str]:
    """Date (UTC) and machine: the GPU if this process has used one."""
    threads = torch.get_num_threads()
    place = (
        torch.cuda.get_device_name()
        if torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
        else f"{threads} CPU thread{'s' * (threads > 1)}"
    )
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "machine": f"{platform.system()} {platform.machine()}, {place}, torch {torch.__version__}",
    }


def usable_cpus(control: Path = Path("/sys/fs/cgroup")) -> int:
    """Processors that this process may use: those that the system lets it run on (a batch system's
    share), and no more than its container's quota of time, rounded up."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        if (control / "cpu.max").is_file():
            quota, period = (control / "cpu.max").read_text().split()
        else:  # the first version of control groups
            quota = (control / "cpu/cpu.cfs_quota_us").read_text()
            period = (control / "cpu/cpu.cfs_period_us").read_text()
        share = math.ceil(int(quota) / int(period))
    except (OSError, ValueError, ZeroDivisionError):  # none, or "max"
        return cpus
    return min(cpus, share) if share > 0 else cpus  # -1: no limit


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
