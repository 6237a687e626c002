"""The front of made-up points; which photos; results that are there are not measured again."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner

from benchmarks import pareto
from benchmarks.pareto import app, front, read_result, spread
from benchmarks.pareto_candidates import Candidate, Wanted
from benchmarks.pareto_picture import draw
from elir_edge.checkpoints.own import embedded_path
from elir_edge.errors import DataError, UsageError


def _rows(**points: tuple[float | None, float]) -> list[dict[str, Any]]:
    return [{"title": k, "ms": ms, "psnr_db": value} for k, (ms, value) in points.items()]


def test_front_by_hand() -> None:
    rows = _rows(
        quick=(5, 20.0),
        better=(10, 22.0),
        beaten_in_both=(12, 21.0),  # by better
        as_good_and_slower=(11, 22.0),  # by better
        as_quick_and_worse=(5, 19.0),  # by quick
        best=(400, 25.0),
        slow_and_bad=(900, 18.0),
        not_timed=(None, 99.0),
    )
    assert front(rows, "psnr_db", more_is_better=True) == ["quick", "better", "best"]
    # The twin: where less is better, the others are.
    assert front(rows, "psnr_db", more_is_better=False) == ["as_quick_and_worse", "slow_and_bad"]
    # The order of the rows does not matter.
    assert front(rows[::-1], "psnr_db", more_is_better=True) == ["quick", "better", "best"]
    assert front([], "psnr_db", more_is_better=True) == []
    assert front(_rows(a=(1, 2.0), b=(1, 2.0)), "psnr_db", more_is_better=True) == ["a"]


def test_photos_are_spread() -> None:
    assert spread(100, 10) == list(range(0, 100, 10))
    assert spread(3, 10) == [0, 1, 2]
    assert spread(100, 3) == [0, 33, 66]
    assert spread(15, 10) == [0, 1, 3, 4, 6, 7, 9, 10, 12, 13]


@pytest.fixture
def photos(tmp_path: Path, photo: NDArray[np.uint8]) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(3):
        Image.fromarray(photo[:80, 40 * i : 40 * i + 90]).save(folder / f"{i}.png")
    return folder


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Put two quick rows in place of all, and a made-up LPIPS; return the tasks that are opened."""
    opened: list[str] = []

    def two(
        task: str, wanted: Wanted, told: Callable[[str], object] = print
    ) -> Iterator[Candidate]:
        opened.append(task)
        yield Candidate(title="input", family="input", restore=lambda degraded: degraded.image)
        yield Candidate(
            title="gray", family="classical", restore=lambda d: np.full_like(d.image, 0.5)
        )
        yield Candidate(
            title="nano, LiteRT int8", family="nano", runtime="LiteRT", precision="int8",
            reason="it missed its gate",
        )  # fmt: skip

    monkeypatch.setattr(pareto, "open_candidates", two)
    monkeypatch.setattr(
        pareto,
        "open_file_metric",
        lambda name, folder: lambda image, clean: float(np.abs(image - clean).mean()),
    )
    return opened


def test_command_measures_once_and_draws(
    photos: Path, tmp_path: Path, measured: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[tuple[Path, list[str]]] = []
    monkeypatch.setattr(
        pareto, "draw", lambda path, results: drawn.append((path, [r["task"] for r in results]))
    )
    out = tmp_path / "out"
    arguments = ["--data", photos, "--metric-weights", tmp_path, "--tasks", "denoising,inpainting"]
    arguments += ["--photos", 2, "--size", 64, "--rounds", 1, "--no-classical", "--out", out]
    run = [str(each) for each in arguments]
    done = CliRunner().invoke(app, run)
    assert done.exit_code == 0, done.output
    assert "nano, LiteRT int8: not measured, it missed its gate" in done.output
    found = json.loads((out / "denoising.json").read_text())
    assert found["settings"]["photos"] == ["0.png", "1.png"]
    degraded, gray, missing = found["rows"]
    assert degraded["ms"] is None
    assert degraded["psnr_db"] < gray["psnr_db"]
    assert gray["ms"] > 0
    assert gray["lpips_error"] is not None
    assert missing["reason"] == "it missed its gate"
    assert found["front"] == {"lpips": ["gray"], "psnr_db": ["gray"]}
    assert drawn == [(out / "pareto.png", ["denoising", "inpainting"])]
    assert measured == ["denoising", "inpainting"]
    # A task that is there is not measured again, unless the settings are others.
    (out / "inpainting.json").unlink()
    assert CliRunner().invoke(app, run).exit_code == 0
    assert measured == ["denoising", "inpainting", "inpainting"]
    again = CliRunner().invoke(app, [*run, "--rounds", "2", "--tasks", "denoising"])
    assert "is of other settings: measured anew" in again.output
    assert measured[3:] == ["denoising"]


def test_other_versions_are_measured_anew(
    photos: Path, tmp_path: Path, measured: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pareto, "draw", lambda path, results: None)
    arguments = ["--data", photos, "--metric-weights", tmp_path, "--tasks", "sr", "--photos", 1]
    arguments += ["--size", 64, "--rounds", 1, "--no-classical", "--out", tmp_path / "out"]
    run = [str(each) for each in arguments]
    for _ in range(2):
        assert CliRunner().invoke(app, run).exit_code == 0
    assert measured == ["sr"]
    monkeypatch.setattr(pareto, "installed_version", lambda name: "9")
    done = CliRunner().invoke(app, run)
    assert "is of other versions: measured anew" in done.output
    assert measured == ["sr", "sr"]


def test_broken_images_are_the_rows_reason(
    photos: Path, tmp_path: Path, measured: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(task: str, wanted: Wanted, told: object) -> Iterator[Candidate]:
        yield Candidate(
            title="broken", family="classical", restore=lambda d: np.full_like(d.image, np.nan)
        )
        yield Candidate(
            title="gray", family="classical", restore=lambda d: np.full_like(d.image, 0.5)
        )

    monkeypatch.setattr(pareto, "open_candidates", broken)
    monkeypatch.setattr(pareto, "draw", lambda path, results: None)
    arguments = ["--data", photos, "--metric-weights", tmp_path, "--tasks", "denoising"]
    arguments += ["--size", 64, "--no-classical", "--out", tmp_path / "out"]
    done = CliRunner().invoke(app, [str(each) for each in arguments])
    assert done.exit_code == 0, done.output
    broken_row, gray = json.loads((tmp_path / "out" / "denoising.json").read_text())["rows"]
    assert broken_row["reason"] == "the restored photo holds values that are not finite"
    assert (broken_row["ms"], gray["reason"]) == (None, None)
    assert gray["ms"] > 0


def test_a_file_that_is_no_result_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "denoising.json"
    assert read_result(path) is None
    good: dict[str, Any] = {
        "task": "denoising", "rows": [], "front": {"lpips": [], "psnr_db": []}, "versions": {},
        "settings": {"photos": [], "side": 64, "threads": 1}, "machine": {"processor": "p"},
    }  # fmt: skip
    path.write_text(json.dumps(good))
    assert read_result(path) == good
    damaged = [
        good | {name: value}
        for name, value in (("rows", 3), ("rows", [{}]), ("settings", None), ("front", {}))
    ]
    texts = [json.dumps(each) for each in (*damaged, good | {"machine": []})]
    for content in ("{", "[]", '{"task": "denoising"}', "[" * 100_000, *texts):
        path.write_text(content)
        with pytest.raises(DataError, match="is no result of pareto"):
            read_result(path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--tasks", "bfr"], "aligned faces; fix: pass them by --faces"),
        (["--steps", "1,x"], "--steps '1,x' is no list of numbers"),
        (["--out", "photos/results"], "lies among the photos"),
        (["--tasks", "sr", "--peers", "."], "--peers are of bsr, which is not measured"),
        (["--tasks", "bsr", "--peers", "."], "spanx4_ch48.param"),
        (["--tasks", "bsr", "--checkpoint", "{sr}"], "is of sr, which is not measured; fix: --ta"),
        (["--out", "o", "--picture", "o/sr.json"], "name the same file"),
        (["--out", "photos/0.png"], "cannot be written"),
    ],
)
def test_options_that_cannot_work(
    arguments: list[str], message: str, photos: Path, measured: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(photos.parent)
    arguments = [each.format(sr=embedded_path("sr")) for each in arguments]
    given = ["--data", "photos", "--metric-weights", ".", "--no-classical", *arguments]
    done = CliRunner().invoke(app, given)
    assert isinstance(done.exception, UsageError)
    assert message in str(done.exception)
    assert measured == []


def test_every_family_is_drawn(tmp_path: Path) -> None:
    families = [
        ("input", "", "fp32", None), ("classical", "", "fp32", None),
        ("nano", "torch eager", "fp32", None), ("nano", "OpenVINO", "int8", None),
        ("steps", "ONNX Runtime", "fp32", 1), ("steps", "ONNX Runtime", "fp32", 2),
        ("size", "ONNX Runtime", "int8", None), ("peer", "ncnn", "fp32", None),
    ]  # fmt: skip
    rows = [
        {
            "title": f"row {i}", "family": family, "runtime": runtime, "precision": precision,
            "steps": steps, "reason": None, "psnr_db": 20.0 + i, "lpips": 0.5 - i / 50,
            "ms": None if family == "input" else 10.0 * (i + 1), "p90_ms": None,
        }
        for i, (family, runtime, precision, steps) in enumerate(families)
    ]  # fmt: skip
    result = {
        "task": "sr",
        "settings": {"photos": ["0.png"], "side": 64, "threads": 1},
        "machine": {"processor": "a processor"},
        "rows": rows,
        "front": {"lpips": ["row 1"], "psnr_db": ["row 1", "row 7"]},
    }
    draw(tmp_path / "picture.png", [result, {**result, "task": "bsr"}])
    with Image.open(tmp_path / "picture.png") as sheet:
        assert sheet.height > 600
