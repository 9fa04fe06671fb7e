"""Freed memory that is kept for the next step, instead of going back to the system each time.

Activations are large and their sizes repeat from step to step. glibc gives such memory back when
it is freed, and the kernel then clears it anew, page by page, a fifth of a step's time and more.
"""

import ctypes
import os
import platform

# The parameters of mallopt(3), <malloc.h>.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
NEVER = -1  # as a threshold for trimming; see mallopt(3)
LARGEST = 2**31 - 1  # bytes; what mallopt takes


OWN = {"MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"}  # what a user may have told glibc


def keep_freed_memory() -> bool:
    """Tell glibc, for the rest of this process; a user's own setting stands.

    Returns:
        Whether it was told.
    """
    if platform.libc_ver()[0] != "glibc" or OWN & os.environ.keys():
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(M_TRIM_THRESHOLD, NEVER) and mallopt(M_MMAP_THRESHOLD, LARGEST))
