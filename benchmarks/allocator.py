"""Memory between runs of torch: what decides, by luck, a third of its time on a CPU."""

import ctypes
import platform

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
"""Numbers of the parameters, from glibc's malloc.h."""
_KEPT_BYTES = 1 << 30


def keep_all_freed_memory() -> None:
    """Have glibc keep all memory that this process frees, up to 1 GiB.

    glibc returns large blocks to the system, or keeps them, by what a process happened to free
    before (mallopt(3)). torch asks for each result anew: the same `nano` took 40 or 56 ms from
    process to process, with 0 or 9,800 page faults a run. This is its better case, always, so that
    ratios to it flatter nobody and are the same in the next run. Elsewhere it does nothing.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(_MMAP_MAX, 0)
    libc.mallopt(_TRIM_THRESHOLD, _KEPT_BYTES)
