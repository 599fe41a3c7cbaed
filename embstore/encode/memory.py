"""How the C library keeps the memory that a forward pass frees."""

import ctypes
from functools import cache

# <malloc.h>, GNU C library.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
_LARGEST_MMAP_THRESHOLD = 32 << 20


@cache
def keep_freed_memory() -> None:
    """Let the process keep the memory of one pass for the next, where the C library is GNU's.

    By default glibc returns large blocks to the system when they are freed, and each pass faults the same pages in
    again: that took 15 percent of the passes of MiniLM on 2 cores. The memory is the process's until it ends.
    """
    mallopt = getattr(_c_library(), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD)
        mallopt(_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(_TOP_PAD, 64 << 20)


def _c_library() -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL(None)
    except TypeError:  # Windows has no library without a name
        return None
