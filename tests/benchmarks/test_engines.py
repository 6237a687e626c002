"""The comparison of quantizers, on a tiny model: what is written, and what one failure leaves."""

import json
import os
from pathlib import Path

import pytest

from benchmarks import engines
from benchmarks.engine_errors import refusals
from benchmarks.engines import app
from benchmarks.quantizers import Case, Graphs, by_onnxruntime
from elir_edge.errors import ExportError
from elir_edge.files import CACHE_VARIABLE, cache_folder
from tests.conftest import Run


def test_engines_are_compared_and_one_that_fails_has_a_reason(
    run_any: Run, tmp_path: Path, tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "engines.json"
    left: list[str] = []

    def broken(case: Case) -> Graphs:
        # What was measured before is on the disk by now.
        left.extend(row["engine"] for row in json.loads(out.read_text())["rows"])
        with refusals("tool", ZeroDivisionError):
            raise ZeroDivisionError("by zero\nand more")
        raise AssertionError

    monkeypatch.setattr(engines, "embedded_path", lambda task: tiny_checkpoint)
    chosen = {"static": by_onnxruntime, "broken": broken}
    monkeypatch.setattr(engines, "choose_engines", lambda words: chosen)
    done = run_any(app, "--size", 64, "--crops", 2, "--out", out)
    assert (done.code, done.err) == (0, "")
    report = json.loads(out.read_text())
    assert left == ["static", "static"]
    assert [(row["engine"], row["runtime"]) for row in report["rows"]] == [
        ("static", "onnxruntime"), ("static", "openvino"),
        ("broken", "onnxruntime"), ("broken", "openvino"),
    ]  # fmt: skip
    for row in report["rows"][:2]:
        assert row["reason"] is None
        assert row["psnr_db"] > 20
        assert row["speedup"] == pytest.approx(
            report["float32_milliseconds"][row["runtime"]] / row["milliseconds"], rel=0.05
        )
    assert {row["reason"] for row in report["rows"][2:]} == {"tool refuses the graph (by zero)"}
    assert report["calibration"] == "scikit-image's photos"
    assert report["machine"]["cores"] > 0
    assert "broken in openvino: tool refuses the graph (by zero)" in done.out


def test_no_engine_finds_what_another_run_worked_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for before in (str(tmp_path), None):
        if before is None:
            monkeypatch.delenv(CACHE_VARIABLE)
        else:
            monkeypatch.setenv(CACHE_VARIABLE, before)
        with engines.empty_cache():
            empty = cache_folder("int8").parent
            assert list(empty.iterdir()) == []
        assert os.environ.get(CACHE_VARIABLE) == before
        assert not empty.exists()


def test_refusals_are_one_line_and_let_others_pass() -> None:
    one_line = r"^tool refuses the graph \(RuntimeError\)$"
    with pytest.raises(ExportError, match=one_line), refusals("tool"):
        raise RuntimeError
    with pytest.raises(ZeroDivisionError), refusals("tool"):
        raise ZeroDivisionError
