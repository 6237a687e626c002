"""Freed memory is kept: page faults of a loop over arrays larger than glibc's threshold."""

import platform
import subprocess
import sys

import pytest

_LOOP = """
import resource
import numpy as np
from benchmarks.allocator import keep_freed_memory

{call}
for i in range(6):
    if i == 3:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    arrays = [np.ones(40_000_000, np.uint8) for _ in range(3)]
    del arrays
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / 3)
"""


def _faults_per_run(call: str) -> float:
    done = subprocess.run(
        [sys.executable, "-c", _LOOP.format(call=call)], capture_output=True, text=True, check=True
    )
    return float(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's allocator is meant")
def test_freed_memory_is_kept() -> None:
    kept, returned = _faults_per_run("keep_freed_memory()"), _faults_per_run("")
    # 120 MB are 29,297 pages of 4 KiB, or 57 of 2 MiB. Tolerance: a tenth of the twin's faults.
    assert kept < returned / 10
    assert returned >= 57


def test_other_systems_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks import allocator

    monkeypatch.setattr(allocator.platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr(allocator.ctypes, "CDLL", lambda name: pytest.fail("asked"))
    allocator.keep_freed_memory()
