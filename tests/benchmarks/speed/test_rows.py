"""Rows of made-up times, by hand."""

from typing import Any

import pytest

from benchmarks.speed.deployments import DEPLOYMENTS, choose
from benchmarks.speed.rows import Subject, rounded, summarise
from benchmarks.speed.turns import Measurements
from elir_edge.errors import UsageError

_SUBJECT = Subject(
    task="denoising", model="nano", size=256, steps=3, parameters=1_000_000, macs=2_000_000_000
)
_TURNS = 6


def _said(milliseconds: float, **more: Any) -> dict[str, Any]:
    """Return what a worker says whose every run takes so long, from end to end twice as long."""
    return {
        "version": "1.0",
        "turns": {
            "model": [[milliseconds] * 5] * _TURNS,
            "end_to_end": [[2 * milliseconds] * 5] * _TURNS,
        },
        "wall_s": 10.0,
        "own_s": 8.0,
        "busy_s": 13.0,
        "clock_mhz": 2600.0,
        "peak_mb": 100.0,
        **more,
    }


def test_rows_by_hand() -> None:
    deployments = choose(targets="torch,onnx", precisions="fp32,int8", runtimes="torch,openvino")
    eager, floats, int8 = deployments
    found: Measurements = {
        eager.title: _said(40.0),
        floats.title: _said(20.0),
        int8.title: {"reason": "its process ended early (exit code -9)"},
        # 4 GMAC in 10 ms are 400 GMAC/s, 1 GMAC in 10 ms 100.
        "openvino fp32": {"macs": 4_000_000_000, "turns": {"model": [[10.0] * 3] * _TURNS}},
        "onnxruntime fp32": {"macs": 1_000_000_000, "turns": {"model": [[10.0] * 3] * _TURNS}},
    }
    rows = summarise(
        _SUBJECT, deployments, found, {floats.title: {"megabytes": 9.5, "psnr_db": 120}}
    )
    first, second, third = rows
    assert (first.reference, first.ratio, first.ratio_interval) == (eager.title, 1.0, (1.0, 1.0))
    assert (second.median_ms, second.p90_ms, second.fps) == (20.0, 20.0, 50.0)
    assert (second.end_to_end_ms, second.end_to_end_fps) == (40.0, 25.0)
    assert (second.ratio, second.ratio_interval) == (2.0, (2.0, 2.0))
    assert (second.end_to_end_ratio, second.end_to_end_ratio_interval) == (2.0, (2.0, 2.0))
    # 2 GMAC in 20 ms are 100 GMAC/s, a quarter of the peak.
    assert (second.gmac, second.gmac_per_s) == (2.0, 100.0)
    assert (second.share_of_peak, second.share_of_peak_interval) == (0.25, (0.25, 0.25))
    assert (second.others, second.clock_mhz, second.peak_megabytes) == (0.5, 2600.0, 100.0)
    assert (second.megabytes, second.psnr_db) == (9.5, 120)
    assert third.reason == "its process ended early (exit code -9)"
    assert third.median_ms is None


def test_gpus_are_compared_with_a_gpu() -> None:
    deployments = [
        v for v in DEPLOYMENTS if v.runtime in ("torch", "torch-cuda", "onnxruntime-cuda")
    ]
    times = {"torch": 40.0, "torch-cuda": 8.0, "onnxruntime-cuda": 2.0}
    found = {v.title: _said(times[v.runtime]) for v in deployments}
    rows = summarise(_SUBJECT, deployments, found, {})
    assert [row.ratio for row in rows] == [1.0, 1.0, 4.0]
    assert rows[2].reference == "torch eager on CUDA"
    assert rows[2].share_of_peak is None


def test_without_a_first_row_the_next_is_the_reference() -> None:
    deployments = choose(targets="torch", precisions=None, runtimes="torch,torch-static")
    found = {deployments[0].title: {"reason": "no memory"}, deployments[1].title: _said(10.0)}
    rows = summarise(_SUBJECT, deployments, found, {})
    assert rows[1].reference == deployments[1].title


def test_too_few_turns_have_no_interval() -> None:
    deployments = choose(targets="torch", precisions=None, runtimes="torch")
    found = {deployments[0].title: _said(10.0) | {"turns": {"model": [[10.0]]}}}
    (row,) = summarise(_SUBJECT, deployments, found, {})
    assert (row.ratio, row.ratio_interval, row.end_to_end_ms) == (1.0, None, None)


def test_digits() -> None:
    assert rounded((123.456789, 0.000123456)) == (123.5, 0.0001235)
    assert rounded(None) is None


def test_choices() -> None:
    assert [v.title for v in choose(targets="tflite", precisions=None, runtimes=None)] == [
        "LiteRT fp32",
        "LiteRT int8",
    ]
    portable = choose(targets=None, precisions=None, runtimes=None, portable=True)
    assert {v.runtime for v in portable} == {"onnxruntime", "openvino", "litert"}
    with pytest.raises(UsageError, match=r"unknown runtime 'tvm'.*onnxruntime"):
        choose(targets=None, precisions=None, runtimes="tvm")
    with pytest.raises(UsageError, match="no row is left"):
        choose(targets="tflite", precisions="bf16", runtimes=None)


def test_rows_have_names_of_their_own() -> None:
    keys = [(v.target, v.precision, v.runtime) for v in DEPLOYMENTS]
    assert len(set(keys)) == len(keys) == len({v.title for v in DEPLOYMENTS})
