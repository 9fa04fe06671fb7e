"""Freed memory that is kept for the next step, instead of going back to the system each time.

Activations are large and their sizes repeat from step to step. glibc gives such memory back when
it is freed, and the kernel then clears it anew, page by page, a fifth of a step's time and more.
"""

import ctypes
import platform

# The parameters of mallopt(3), <malloc.h>.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
NEVER = -1  # as a threshold for trimming; see mallopt(3)
LARGEST = 2**31 - 1  # bytes; what mallopt takes


def keep_freed_memory() -> bool:
    """Tell glibc, for the rest of this process; elsewhere nothing is done.

    Returns:
        Whether it was told.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(M_TRIM_THRESHOLD, NEVER) and mallopt(M_MMAP_THRESHOLD, LARGEST))
