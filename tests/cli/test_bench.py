"""`elir-edge bench`: what it counts, and that it does not count the warm-up."""

import json
import math
from pathlib import Path

import pytest

from elir_edge.cli.app import app
from elir_edge.runtime import Restorer, bench
from elir_edge.runtime.bench import Timing, peak_megabytes, run_bench
from tests.conftest import Run


class Clock:
    """Time that passes only where a test lets it."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now


def test_turns_and_times(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model of 125 ms, of 1 s in the first two seconds; 62.5 ms around it end to end."""
    clock, restorer = Clock(), Restorer(tiny_bundle, threads=1)
    calls: list[str] = []

    def run(image: object, *, noise_key: int = 0) -> object:
        assert noise_key == 0
        calls.append("run")
        clock.now += 1.0 if clock.now < 2 else 0.125
        return image

    def restore(image: object) -> object:
        clock.now += 0.0625
        calls.append("restore")
        return run(image)

    monkeypatch.setattr(bench, "time", clock)
    monkeypatch.setattr(restorer, "run", run)
    monkeypatch.setattr(restorer, "restore", restore)
    seen: list[tuple[float, float, float]] = []
    result = run_bench(restorer, seconds=5.0, progress=lambda *numbers: seen.append(numbers))
    assert result.model.median == pytest.approx(125)
    assert result.model.p90 == pytest.approx(125)
    assert result.end_to_end.median == pytest.approx(187.5)
    assert result.model.runs == result.end_to_end.runs == 16
    # Something is told after the first run already.
    assert seen[0] == (1.0, 7.0, 1000.0)
    assert (result.width, result.height) == (64, 64)
    assert calls[:3] == ["run", "restore", "run"]
    assert seen[-1][2] == pytest.approx(125)
    assert all(passed <= total + 0.3 for passed, total, _ in seen)


def test_slow_models_run_three_times(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, restorer = Clock(), Restorer(tiny_bundle, threads=1)

    def run(image: object, *, noise_key: int = 0) -> object:
        clock.now += 30.0
        return image

    monkeypatch.setattr(bench, "time", clock)
    monkeypatch.setattr(restorer, "run", run)
    assert run_bench(restorer, seconds=1.0).model == Timing(median=30_000, p90=30_000, runs=3)


def test_rates() -> None:
    assert Timing(median=20, p90=25, runs=10).fps == 50


def test_memory_is_at_least_that_of_the_libraries() -> None:
    peak = peak_megabytes()
    assert peak is not None
    assert 50 < peak < 100_000


def test_memory_is_the_kernels_high_water_mark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    status = tmp_path / "status"
    status.write_text("Name:\tpython\nVmPeak:\t 900000 kB\nVmHWM:\t  50000 kB\n")
    monkeypatch.setattr(bench, "_STATUS", status)
    assert peak_megabytes() == 51.2
    monkeypatch.setattr(bench, "_STATUS", tmp_path / "absent")
    peak = peak_megabytes()
    assert peak is None or peak > 1


def test_the_command(run_any: Run, tiny_bundle: Path) -> None:
    arguments = ("bench", tiny_bundle, "--seconds", 0.1, "--threads", 1)
    done = run_any(app, *arguments)
    assert (done.code, done.err) == (0, "")
    assert "model alone" in done.out
    assert "64 x 64 on onnxruntime" in done.out
    values = json.loads(run_any(app, *arguments, "--json").out)
    for name in ("model", "end_to_end"):
        timing = values[name]
        assert 0 < timing["median"] <= timing["p90"]
        assert timing["fps"] == pytest.approx(1000 / timing["median"])
        assert timing["runs"] >= 3
    assert math.isfinite(values["peak_megabytes"])


def test_mistakes(run_any: Run, tiny_bundle: Path, tmp_path: Path) -> None:
    assert run_any(app, "bench", tmp_path).code == 1
    assert run_any(app, "bench", tiny_bundle, "--runtime", "abacus").code == 2
