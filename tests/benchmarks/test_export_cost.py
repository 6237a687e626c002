"""What an export costs, by stage."""

from pathlib import Path

import pytest

from benchmarks.export_cost import Stopwatch, measure, without_out
from export.request import Request


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


@pytest.mark.parametrize("out", [["--out", "/home/me/costs.json"], ["--out=/home/me/costs.json"]])
def test_where_the_result_goes_is_not_recorded(out: list[str]) -> None:
    assert without_out(["--task", "sr", *out, "--size", "64"]) == ["--task", "sr", "--size", "64"]
    assert without_out(["--task", "sr"]) == ["--task", "sr"]
