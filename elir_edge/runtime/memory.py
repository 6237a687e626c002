"""What the system's allocator does with the memory of a restored image."""

import numpy as np

_ARRAYS = 8
"""So many float images of the graph's size are held at once while one is restored."""
_LARGEST = (32 << 20) - (1 << 16)
"""glibc adapts to blocks below 32 MiB only (malloc(3), M_MMAP_THRESHOLD)."""


def keep_freed_memory(side: int) -> None:
    """Have glibc keep the memory of one image for the next, instead of returning it to the system.

    Returned memory must be mapped again page by page: 1,500 faults, or 3 ms, for an image of 256 x
    256. glibc returns less once a program has freed a large block, as one does that has read a
    large photo. This frees such a block, whose pages are never touched and so take no memory. It
    holds for the whole process, which then keeps up to 64 MiB of what it has freed; images of
    graphs from about 850 x 850 on take more, and are returned as before. Other allocators are not
    affected.

    Args:
        side: of the graph's square input, in pixels.
    """
    block = np.empty(min(_ARRAYS * side * side * 3 * 4, _LARGEST), np.uint8)
    del block
