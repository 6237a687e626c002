"""What an export costs, by stage."""

import mmap
import os
from pathlib import Path

import pytest

from benchmarks.export_cost import Stopwatch, app, measure, without_out
from export.request import Request
from tests.conftest import Run, assert_mistake


def test_stages_that_come_again_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([0.0, 1.0, 3.0, 6.0, 10.0])
    monkeypatch.setattr("benchmarks.export_cost.time.monotonic", lambda: next(times))
    watch = Stopwatch()
    for stage in ("load", "emit", "load", None):
        watch.begin(stage)
    assert watch.seconds == {"load": 2.0 + 4.0, "emit": 3.0}


def test_an_export(tiny_checkpoint: Path, tmp_path: Path) -> None:
    request = Request(
        task="denoising", target="onnx", checkpoint=tiny_checkpoint, size=64, out=tmp_path
    )
    cost = measure(request)
    assert list(cost.seconds) == [
        *("load", "collapse and unroll", "rewrite", "rewriting", "ONNX"),
        *("quantize", "emit", "verify", "bundle"),
    ]
    assert cost.total_seconds == pytest.approx(sum(cost.seconds.values()), abs=1)
    assert cost.peak_bytes > 50e6
    assert set(cost.stage_peak_bytes) in ({*cost.seconds}, set())
    assert max(cost.stage_peak_bytes.values(), default=0) <= cost.peak_bytes


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="peaks are Linux's")
def test_each_stage_has_its_own_peak() -> None:
    """Pages are mapped by hand: an allocator may keep what is freed."""
    watch = Stopwatch()
    watch.begin("large")
    with mmap.mmap(-1, 200_000_000) as held:
        held.write(bytes(1) * len(held))
    watch.begin("small")
    watch.begin(None)
    assert watch.peaks["large"] - watch.peaks["small"] > 150e6


@pytest.mark.parametrize("out", [["--out", "elsewhere/costs.json"], ["--out=elsewhere/costs.json"]])
def test_where_the_result_goes_is_not_recorded(out: list[str]) -> None:
    assert without_out(["--task", "sr", *out, "--size", "64"]) == ["--task", "sr", "--size", "64"]
    assert without_out(["--task", "sr"]) == ["--task", "sr"]


@pytest.mark.parametrize("content", [b'{"a": ', b"[1]", b"\xff\xfe\x00"])
def test_a_file_that_is_no_record_is_said_before_the_work(
    content: bytes, tmp_path: Path, run_any: Run
) -> None:
    out = tmp_path / "costs.json"
    out.write_bytes(content)
    assert_mistake(run_any(app, "--out", out), 2, "costs.json", "fix: pass another --out")
    assert out.read_bytes() == content
