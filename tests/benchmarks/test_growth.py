"""Exponents of made-up points; a point is measured in a process of its own; bad options."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from benchmarks import growth, growth_points
from benchmarks.growth import app, fits
from benchmarks.growth_picture import draw
from benchmarks.growth_points import Job, Point, measure
from benchmarks.growth_worker import memory_mb
from elir_edge.errors import ElirError, UsageError


def _points(exponent: float, threads: int = 1) -> list[Point]:
    return [
        Point(
            series="whole",
            runtime="onnxruntime",
            threads=threads,
            x=float(side * side),
            label=f"{side} x {side}",
            rounds=[[1e-4 * side ** (2 * exponent)] * 3, [1e-4 * side ** (2 * exponent)]],
            memory_mb=20 + 1e-4 * side * side,
            idle_mb=50,
        )
        for side in (128, 256, 512)
    ]


def test_exponents_by_series_and_threads() -> None:
    points = [*_points(1.0), *_points(0.9, threads=2)]
    points.append(Point(series="tiled", runtime="openvino", threads=1, x=1.0, label="no law"))
    one, two = fits(points)
    assert (one["series"], one["runtime"], one["threads"]) == ("whole", "onnxruntime", 1)
    assert one["milliseconds"]["exponent"] == pytest.approx(1.0)
    assert two["milliseconds"]["exponent"] == pytest.approx(0.9)
    assert one["lines"]["memory"]["constant"] == pytest.approx(20, rel=1e-3)
    assert one["memory"]["exponent"] < 0.6
    # The twin: a point that is not measured rightly.
    slower = _points(1.0)
    slower[0].rounds[0][:] = [2 * ms for ms in slower[0].rounds[0]]
    assert fits(slower)[0]["milliseconds"]["exponent"] != pytest.approx(1.0, abs=0.1)


def test_points_without_memory_or_time_have_no_part_in_a_fit() -> None:
    points = _points(1.0)
    lost = Point(series="whole", runtime="onnxruntime", threads=1, x=1e9, label="l", reason="r")
    assert fits([*points, lost]) == fits(points)
    assert fits([points[0], lost]) == []


def test_no_picture_without_a_series(tmp_path: Path) -> None:
    with pytest.raises(ElirError, match="no series has two measured points"):
        draw(tmp_path / "growth.png", {"task": "denoising", "points": [], "exponents": []})


def test_pixels_computed_by_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    # Tiles of 256 that overlap by at least 32: one covers 256, two 480, three 704.
    manifest = SimpleNamespace(
        identity=SimpleNamespace(task="denoising"), processing=SimpleNamespace(overlap=32)
    )
    monkeypatch.setattr(
        growth, "Bundle", SimpleNamespace(open=lambda path: SimpleNamespace(manifest=manifest))
    )
    found = [growth._computed(Path("b"), side) for side in (128, 256, 480, 512)]
    assert found == [4, 1, pytest.approx((512 / 480) ** 2), 2.25]


def test_a_process_that_ends_is_the_reason_of_its_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = tmp_path / "worker.py"
    worker.write_text(
        "import json, sys\n"
        "dies = json.loads(sys.argv[1])['artifact'].endswith('bad')\n"
        "print('{}', flush=True)\n"
        "for number, line in enumerate(sys.stdin):\n"
        "    if dies and number == 1:\n"
        "        sys.exit(9)\n"
        "    answer = {'peak_mb': 9, 'idle_mb': 4} if line == 'memory\\n' else [2.0]\n"
        "    print(json.dumps(answer), flush=True)\n"
    )
    monkeypatch.setattr(growth_points, "growth_worker", SimpleNamespace(__file__=str(worker)))
    point = Point(series="steps", runtime="onnxruntime", threads=1, x=1.0, label="K = 1")
    jobs = [Job(point=point, artifact=Path(name), image=Path("i")) for name in ("good", "bad")]
    good, bad = measure(jobs, rounds=2)
    assert (good.reason, good.rounds, good.memory_mb) == (None, [[2.0], [2.0]], 5)
    assert (bad.reason, bad.rounds) == ("its process ended early (exit code 9)", [])


def test_images_a_second_count_the_batch() -> None:
    point = Point(
        series="batch", runtime="r", threads=1, x=4.0, label="batch 4", images=4, rounds=[[200.0]]
    )
    assert point.fps == pytest.approx(20)
    assert point.to_json()["fps"] == pytest.approx(20)


@pytest.mark.slow
def test_the_picture_is_drawn(tmp_path: Path) -> None:
    points = [*_points(1.0), *_points(1.1, threads=2)]
    report = {
        "task": "denoising",
        "points": [point.to_json() for point in points],
        "exponents": fits(points),
    }
    draw(tmp_path / "growth.png", report)
    with Image.open(tmp_path / "growth.png") as sheet:
        assert sheet.width > 1000


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_memory_is_this_processes() -> None:
    before = memory_mb("VmRSS")
    block = np.ones(8_000_000)  # 64 MB
    assert memory_mb("VmRSS") > before + 50
    assert memory_mb("VmHWM") >= memory_mb("VmRSS") - 1
    assert block.sum() == 8_000_000
    with pytest.raises(ElirError, match="does not tell VmNothing"):
        memory_mb("VmNothing")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--task", "bfr"], "bfr is not tiled"),
        (["--runtimes", "onnxruntime,trt"], "--runtimes trt cannot be measured here"),
        (["--sides", "128,x"], "--sides '128,x' is no list of numbers from 1 on"),
        (["--batches", "0"], "--batches '0' is no list"),
        (["--sides", "100"], "--sides 100 do not suit denoising"),
        (["--out", "x", "--picture", "x"], "--out and --picture name the same file"),
        (
            ["--sides", "128", "--steps", "1", "--batches", "2", "--picture", "x"],
            "--picture needs a series of two points",
        ),
    ],
)
def test_options_that_cannot_work(arguments: list[str], message: str) -> None:
    done = CliRunner().invoke(app, arguments)
    assert isinstance(done.exception, UsageError)
    assert message in str(done.exception)


@pytest.mark.slow
def test_a_bundle_is_measured_in_a_process(tiny_bundle: Path, tmp_path: Path) -> None:
    image = tmp_path / "image.npy"
    np.save(image, np.zeros((80, 80, 3), np.uint8))
    point = Point(series="tiled", runtime="onnxruntime", threads=1, x=6400.0, label="80 x 80")
    missing = Point(series="tiled", runtime="onnxruntime", threads=1, x=1.0, label="missing")
    jobs = [
        Job(point=point, artifact=tiny_bundle, image=image, bundle=True),
        Job(point=missing, artifact=tmp_path / "nowhere", image=image, bundle=True),
    ]
    found, failed = measure(jobs, rounds=2)
    assert [len(each) for each in found.rounds] == [3, 3]
    assert found.memory_mb is not None
    assert 0 < found.memory_mb < 1000
    assert failed.reason is not None
    assert "nowhere" in failed.reason
    assert growth.fits([found, failed]) == []
