"""A bundle's worker: same results as the restorer, honest counts and memory."""

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.speed import worker
from benchmarks.speed.worker import (
    Calls,
    bundle_calls,
    busy_seconds,
    network_input,
    serve,
    time_turn,
)
from elir_edge.runtime import Bundle, Restorer
from elir_edge.runtime.images import read_picture


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    """Return three photos of 64 pixels."""
    rng = np.random.default_rng(0)
    paths = [tmp_path / f"{i}.png" for i in range(3)]
    for path in paths:
        Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(path)
    return paths


def _calls(count: Callable[[str], None]) -> Calls:
    return Calls(
        version="",
        load=lambda path: count("load"),
        model=lambda given: count("model"),
        image=lambda made: np.zeros((1, 1, 3), np.float32),
        end_to_end=lambda path: count("end_to_end"),
    )


def test_a_bundle_gives_what_its_restorer_gives(tiny_bundle: Path, photos: list[Path]) -> None:
    calls = bundle_calls(Bundle.open(tiny_bundle), "onnxruntime", 1)
    with Restorer(tiny_bundle, threads=1) as restorer:
        pixels = read_picture(photos[0]).pixels
        assert np.array_equal(calls.end_to_end(photos[0]), restorer.restore(pixels))
        image = calls.image(calls.model(calls.load(photos[0])))
        assert np.array_equal(image, restorer.run(network_input(photos[0], 64, "nearest")))
    assert calls.version.startswith("onnxruntime ")


def test_a_turn_loads_first_then_leads_then_times(photos: list[Path]) -> None:
    happened: list[str] = []
    found = time_turn(_calls(happened.append), "model", photos, 3, 2)
    assert happened == ["load"] * 3 + ["model"] * (2 + 3)
    assert len(found["milliseconds"]) == 3
    happened.clear()
    assert time_turn(_calls(happened.append), "end_to_end", photos, 0, 4)["milliseconds"] == []
    assert happened == ["end_to_end"] * 4


def test_small_photos_are_enlarged(tmp_path: Path) -> None:
    small = np.zeros((8, 8, 3), np.uint8)
    small[0, 0] = 255
    Image.fromarray(small).save(tmp_path / "small.png")
    image = network_input(tmp_path / "small.png", 64, "nearest")
    assert image.shape == (64, 64, 3)
    assert np.array_equal(image[:8, :8], np.ones((8, 8, 3), np.float32))
    assert image[8:].max() == image[:, 8:].max() == 0


def test_serves_a_line_for_a_line(
    photos: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    requests = [
        {"kind": "model", "first": 1, "count": 2, "lead": 1},
        {"kind": "memory"},
        {"kind": "outputs", "count": 2, "path": str(tmp_path / "made.npy")},
    ]
    serve(_calls(lambda kind: None), photos, io.StringIO("\n".join(map(json.dumps, requests))))
    greeting, turn, memory, saved = map(json.loads, capsys.readouterr().out.splitlines())
    assert greeting == {"version": "", "macs": None}
    assert len(turn["milliseconds"]) == 2
    assert set(turn) == {"milliseconds", "wall_s", "own_s", "busy_s", "clock_mhz"}
    assert memory["peak_mb"] > 1
    assert saved == {}
    assert np.load(tmp_path / "made.npy").shape == (2, 1, 1, 3)


def test_busy_seconds_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # user, nice, system, idle, iowait, irq, softirq, steal, guest
    stat = tmp_path / "stat"
    stat.write_text("cpu  100 20 3 5000 700 4 5 6 90\ncpu0 1 2 3\n")
    monkeypatch.setattr(worker, "_CPU_TIMES", stat)
    monkeypatch.setattr(worker.os, "sysconf", lambda name: 100)
    assert busy_seconds() == (100 + 20 + 3 + 4 + 5 + 6) / 100
    monkeypatch.setattr(worker, "_CPU_TIMES", tmp_path / "absent")
    assert busy_seconds() is None


def test_clock_is_the_fastest_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for core, kilohertz in (("cpu0", 1_500_000), ("cpu1", 2_400_000)):
        (tmp_path / core / "cpufreq").mkdir(parents=True)
        (tmp_path / core / "cpufreq" / "scaling_cur_freq").write_text(f"{kilohertz}\n")
    monkeypatch.setattr(worker, "_CLOCKS", tmp_path)
    assert worker.clock_megahertz() == 2400
    monkeypatch.setattr(worker, "_CLOCKS", tmp_path / "absent")
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor : 0\ncpu MHz\t\t: 2596.9\nprocessor : 1\ncpu MHz\t\t: 2600.5\n")
    monkeypatch.setattr(worker, "_CPUINFO", cpuinfo)
    assert worker.clock_megahertz() == 2600.5


def test_a_bundle_that_cannot_run_gives_a_reason(
    tiny_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    worker.main([str(tiny_bundle), "litert", ".", "1"])
    reason = json.loads(capsys.readouterr().out)["reason"]
    assert "was not checked in runtime 'litert'" in reason
