"""Memory of an image is kept for the next: page faults of a loop that takes and frees arrays."""

import platform
import subprocess
import sys

import pytest

# As a restoration does: eight float images of 256 x 256 are filled, then all are freed.
_LOOP = """
import resource
import numpy as np
from elir_edge.runtime.memory import keep_freed_memory

{call}

def image():
    arrays = [np.ones((256, 256, 3), np.float32) for _ in range(8)]

for _ in range(3):
    image()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    image()
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / 10)
"""


def _faults_per_image(call: str) -> float:
    done = subprocess.run(
        [sys.executable, "-c", _LOOP.format(call=call)], capture_output=True, text=True, check=True
    )
    return float(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's allocator is meant")
def test_an_images_memory_is_kept_for_the_next() -> None:
    # The eight arrays have 1,536 pages of 4 KiB. Tolerance: a tenth of them, with the call.
    assert _faults_per_image("keep_freed_memory(256)") < 150
    # The twin: without it, or for a smaller graph, they are mapped anew each time.
    assert _faults_per_image("") > 1000
    assert _faults_per_image("keep_freed_memory(32)") > 1000
