"""Freed memory is kept, of blocks larger than glibc's greatest threshold, too."""

import platform

import pytest

from benchmarks import allocator
from tests.page_faults import faults_per_run

_IMPORT = "from benchmarks.allocator import keep_all_freed_memory\n"
_BLOCKS = "arrays = [np.ones(40_000_000, np.uint8) for _ in range(3)]"


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's allocator is meant")
def test_freed_memory_is_kept() -> None:
    kept = faults_per_run(f"{_IMPORT}keep_all_freed_memory()", _BLOCKS)
    returned = faults_per_run(_IMPORT, _BLOCKS)
    # 120 MB are 29,297 pages of 4 KiB, or 57 of 2 MiB. Tolerance: a tenth of the twin's faults.
    assert kept < returned / 10
    assert returned >= 57


def test_other_systems_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allocator.platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr(allocator.ctypes, "CDLL", lambda name: pytest.fail("asked"))
    allocator.keep_all_freed_memory()
