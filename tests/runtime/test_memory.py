"""Memory of an image is kept for the next."""

import platform

import pytest

from tests.page_faults import faults_per_run

_IMPORT = "from elir_edge.runtime.memory import keep_freed_memory\n"
_IMAGE = "arrays = [np.ones((256, 256, 3), np.float32) for _ in range(8)]"
"""As a restoration does: eight float images of 256 x 256 are filled, then all are freed."""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's allocator is meant")
def test_an_images_memory_is_kept_for_the_next() -> None:
    # The eight arrays have 1,536 pages of 4 KiB. Tolerance: a tenth of them, with the call.
    assert faults_per_run(f"{_IMPORT}keep_freed_memory(256)", _IMAGE) < 150
    # The twin: without it, or for a smaller graph, they are mapped anew each time.
    assert faults_per_run(_IMPORT, _IMAGE) > 1000
    assert faults_per_run(f"{_IMPORT}keep_freed_memory(32)", _IMAGE) > 1000
