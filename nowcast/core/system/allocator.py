"""How a process that is ours has its memory: in huge pages, kept for the next step, not searched
for garbage where there is none.

Activations are large and their sizes repeat from step to step. glibc gives such memory back when
it is freed, and the kernel then clears it anew, page by page, a fifth of a step's time and more.

All are settings of the whole process, so only its owner makes them: the command line and the
processes that it starts. A program that uses nowcast as a library may call `tune_process` itself.
"""

import ctypes
import gc
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager

# The parameters of mallopt(3), <malloc.h>.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
NEVER = -1  # as a threshold for trimming; see mallopt(3)
LARGEST = 2**31 - 1  # bytes; what mallopt takes


HUGE_PAGES = "THP_MEM_ALLOC_ENABLE"
OWN = {"MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"}  # what a user may have told glibc


def tune_process() -> None:
    """Ask for huge pages and keep freed memory, for the rest of this process and those it starts.

    Batches and activations are fresh memory at every step, and touching it in pages of 4 KiB takes
    longer than reading the clips. torch asks Linux for huge pages where the environment says so
    before it first allocates. A user's own settings stand.
    """
    os.environ.setdefault(HUGE_PAGES, "1")
    keep_freed_memory()


def keep_freed_memory() -> bool:
    """Tell glibc, for the rest of this process; a user's own setting stands.

    Returns:
        Whether it was told.
    """
    if platform.libc_ver()[0] != "glibc" or OWN & os.environ.keys():
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(M_TRIM_THRESHOLD, NEVER) and mallopt(M_MMAP_THRESHOLD, LARGEST))


@contextmanager
def uncollected() -> Iterator[None]:
    """Import torch, and what needs it, without looking for garbage: imports leave none, and every
    full collection goes through all that they made, a tenth of a command's start.

    What is there at the end is not looked through again. Where torch has been imported already,
    nothing is changed: the process is under way.
    """
    if "torch" in sys.modules or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
