"""The command: what it refuses, what it compares, and a short run of a tiny model."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from benchmarks.fps import app
from benchmarks.speed import measuring, session, subjects
from benchmarks.speed.compare import FORMAT, VERSION
from benchmarks.speed.deployments import YARDSTICKS, choose
from benchmarks.speed.measuring import ByAdb, here, mean_psnr
from benchmarks.speed.report import as_json, estimate_lines, markdown, table_of
from benchmarks.speed.rows import EQUAL_DB, Row, Subject
from benchmarks.speed.turns import PAPER
from elir_edge.checkpoints.own import Checkpoint
from elir_edge.errors import ParityError
from tests.benchmarks.conftest import SshServer, free_port
from tests.conftest import Run, make_model, tiny_config

_MACHINE = {"device": "this machine", "processor": "A", "cores": 2, "system": "L", "gpu": None}
_ROW = Row(
    task="denoising",
    model="paper",
    size=256,
    steps=3,
    parameters=26_890_000,
    target="torch",
    precision="fp32",
    runtime="torch",
    title="torch eager (published way)",
    median_ms=500.0,
    p90_ms=600.0,
    fps=2.0,
    end_to_end_fps=1.9,
    reference="torch eager (published way)",
    ratio=1.0,
    ratio_interval=(1.0, 1.0),
    psnr_db=EQUAL_DB,
    share_of_peak=0.65,
    share_of_peak_interval=(0.64, 0.66),
)
_REPORT: dict[str, Any] = {
    "date": "2026-11-29",
    "protocol": {"images": 30, "warmup": 3, "turn": 5, "outputs": 8},
    "threads": 2,
    "photos": "crops",
    "machine": _MACHINE,
    "load_before": [0.1, 0.1, 0.1],
    "load_after": [0.2, 0.1, 0.1],
    "versions": {"torch": "2.13"},
    "peaks": {"denoising, paper": {"fp32": 180.0}},
    "estimates": {},
}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--device", "camera"], "--device 'camera' is no address"),
        (["--device", "ssh:-oProxyCommand=x@y"], "is no address"),
        (["--task", "deblurring"], "unknown task 'deblurring'"),
        (["--model", "huge"], "unknown model 'huge'"),
        (["--runtime", "tvm"], "unknown runtime 'tvm'"),
        (["--target", "tflite", "--runtime", "openvino"], "no row is left"),
        (["--quick", "--calibration", "photos"], "nothing is calibrated"),
        (["--measured", "{new}"], "--measured is compared with nothing"),
        (["--compare", "{new}", "--out", "{new}"], "--out and --compare name the same file"),
        (["--out", "{new}", "--markdown", "{new}"], "--out and --markdown name the same file"),
        (
            ["--measured", "{new}", "--compare", "{new}", "--task", "sr", "--quick"],
            "--measured measures nothing; got --compare, --measured, --quick, --task; fix",
        ),
        (["--device-python", "python3.12"], "are of --device ssh:"),
        (["--device", "adb:A", "--ssh-config", "config"], "are of --device ssh:"),
        (["--device", "adb:A", "--compare", "{new}"], "is not of adb:A; got this machine"),
        (["--compare", "{new}"], "is of another machine"),
        (["--compare", "absent.json"], "cannot be read as a report"),
    ],
)
def test_what_cannot_be_done_is_refused_at_once(
    run_any: Run, tmp_path: Path, arguments: list[str], message: str
) -> None:
    new = tmp_path / "new.json"
    new.write_text(json.dumps(as_json(_REPORT, [_ROW])))
    done = run_any(app, *(text.format(new=new) for text in arguments))
    assert done.code == 2
    assert message in done.err
    assert len(done.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "nano,sensor", "--task", "sr,bfr"], "bfr"),
        (["--data", "nowhere"], "nowhere"),
        (["--calibration", "nowhere"], "nowhere"),
    ],
)
def test_what_is_not_at_hand_is_said_before_anything_is_measured(
    run_any: Run,
    arguments: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(session, "prepare", lambda *given: pytest.fail("begun"))
    done = run_any(app, *arguments)
    assert (done.code, len(done.err.splitlines())) == (1, 1)
    assert message in done.err


def test_a_damaged_report_is_refused(run_any: Run, tmp_path: Path) -> None:
    path = tmp_path / "old.json"
    report = as_json(_REPORT, [_ROW])
    row = {name: value for name, value in report["rows"][0].items() if name != "reason"}
    changed = [
        report["rows"][0] | {name: value}
        for name, value in (
            ("psnr_db", "40"), ("megabytes", 10**400), ("task", []), ("ratio_interval", [1.0]),
            ("reason", 3),
        )
    ]  # fmt: skip
    damaged = [report | {"rows": [each]} for each in (row, 3, *changed)]
    damaged += [report | {name: None} for name in ("rows", "machine", "versions")]
    for each in damaged:
        path.write_text(json.dumps(each))
        done = run_any(app, "--measured", path, "--compare", path)
        assert done.code == 2
        assert "is damaged: fields are missing or of another type" in done.err
    # PSNR of no number would be worse than nothing, and never below it.
    no_number = report | {"rows": [report["rows"][0] | {"psnr_db": float("nan")}]}
    for text in (json.dumps(no_number), "[" * 100_000):
        path.write_text(text)
        done = run_any(app, "--measured", path, "--compare", path)
        assert done.code == 2
        assert "cannot be read as a report" in done.err


def test_a_row_of_no_numbers_says_so_and_leaves_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = np.zeros((1, 4, 4, 3), np.float32)
    deployments = choose(
        targets="onnx", precisions="fp32,fp16", runtimes="onnxruntime", portable=True
    )
    found: dict[str, Any] = {}
    for i, (v, value) in enumerate(zip(deployments, (0.1, np.nan), strict=True)):
        np.save(tmp_path / f"{i}.npy", image + np.float32(value))
        turns = {"model": [[5.0]], "end_to_end": [[6.0]]}
        found[v.title] = {"version": "R", "turns": turns, "outputs": f"{i}.npy"}
    monkeypatch.setattr(measuring, "reference_outputs", lambda *given: image)
    monkeypatch.setattr(measuring, "list_photos", lambda folder: [folder])
    subject = Subject(task="sr", model="nano", size=4, steps=3, parameters=1, macs=1)
    group: Any = SimpleNamespace(folder=tmp_path, subject=subject, artifact=lambda v: None)
    circumstances = {"machine": {}, "load_before": None, "load_after": None}
    good, bad = measuring._measured(group, deployments, found, circumstances).rows
    assert (good.reason, good.psnr_db) == (None, 20.0)
    assert bad.reason == "its values are not finite"


def test_a_device_that_does_not_answer_is_one_line(run_any: Run) -> None:
    device = f"ssh:nobody@127.0.0.1:{free_port()}"
    done = run_any(app, "--device", device, "--ssh-config", "/dev/null")
    assert done.code == 1
    assert done.err.startswith(f"error: {device}: ")
    assert len(done.err.splitlines()) == 1


def test_two_reports_are_compared(run_any: Run, tmp_path: Path) -> None:
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    report = as_json(_REPORT, [_ROW])
    assert (report["format"], report["version"]) == (FORMAT, VERSION)
    old.write_text(json.dumps(report))
    new.write_text(json.dumps(report))
    done = run_any(app, "--measured", new, "--compare", old)
    assert (done.code, done.err) == (0, "")
    assert "1 rows compared, 0 of the old report not measured now; 0 regressions" in done.out
    slow = {**report["rows"][0], "share_of_peak": 0.5, "share_of_peak_interval": [0.49, 0.51]}
    new.write_text(json.dumps(report | {"rows": [slow], "versions": {"torch": "3.0"}}))
    done = run_any(app, "--measured", new, "--compare", old)
    assert done.code == 1
    assert "share of the peak 0.65 [0.64, 0.66] -> 0.5 [0.49, 0.51]" in done.out
    assert "versions differ: torch 2.13 -> 3.0" in done.out
    assert done.err == f"error: 1 regressions against {old}\n"


def test_tables_say_what_they_are() -> None:
    text = markdown(_REPORT, [_ROW])
    assert "30 images after 3, not the paper's protocol" in text
    assert "random weights" in text
    assert "the paper, not measured here: 49.26 FPS, 20.3 ms" in text
    assert "Table 5" in text
    assert "| 500.0 | 600.0 | 2.0 | 1.9 | 1.00 [1.00, 1.00] |" in text
    paper = {"protocol": {**_REPORT["protocol"], "images": 200, "warmup": 10}}
    assert "not the paper's protocol" not in markdown({**_REPORT, **paper}, [_ROW])
    assert table_of("", [_ROW]).row_count == 1
    assert "estimates" not in markdown(_REPORT, [_ROW])
    assert estimate_lines([]) == []


def test_psnr_of_rows() -> None:
    image = np.zeros((2, 2, 3), np.float32)
    assert mean_psnr([image, image + np.float32(0.1)], [image, image]) == pytest.approx(
        (EQUAL_DB + 20) / 2, abs=1e-4
    )
    with pytest.raises(ParityError, match="its values are not finite"):
        mean_psnr([image + np.float32(np.nan)], [image])


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the command measure a tiny model, and as yardstick one runtime."""

    def checkpoint_of(task: str, model: str, steps: int | None) -> Checkpoint:
        network = make_model(tiny_config(num_steps=steps or 2))
        return Checkpoint(task=task, config=network.config, state=network.state_dict())

    monkeypatch.setattr(subjects, "checkpoint_of", checkpoint_of)
    one = {"onnxruntime fp32": YARDSTICKS["onnxruntime fp32"]}
    monkeypatch.setattr(measuring, "YARDSTICKS", one)
    monkeypatch.setattr(session, "estimate_line", lambda: "the sensor's line")


@pytest.mark.slow
def test_a_short_run_of_a_tiny_model(run_any: Run, tmp_path: Path, tiny: None) -> None:
    out, text = tmp_path / "new.json", tmp_path / "new.md"
    options = ["--quick", "--size", 64, "--threads", 1, "--target", "torch,onnx"]
    only = ["--runtime", "torch,torch-static,onnxruntime,onnxruntime-cuda"]
    done = run_any(app, *options, *only, "--out", out, "--markdown", text)
    assert (done.code, done.err) == (0, "")
    report = json.loads(out.read_text())
    rows = {row["title"]: row for row in report["rows"]}
    assert set(rows) == {
        "torch eager (published way)",
        "torch eager, static graph",
        "ONNX Runtime fp32",
        "ONNX Runtime fp16",
        "ONNX Runtime fp16 on CUDA",
    }
    assert "CUDA" in rows.pop("ONNX Runtime fp16 on CUDA")["reason"]
    for row in rows.values():
        assert row["reason"] is None
        low, high = row["ratio_interval"]
        assert low <= row["ratio"] <= high
        assert row["peak_megabytes"] > 10
        assert row["end_to_end_ms"] > 0
        assert row["share_of_peak_interval"] is not None
    assert rows["torch eager (published way)"]["psnr_db"] is None
    assert rows["torch eager, static graph"]["psnr_db"] == EQUAL_DB
    assert rows["ONNX Runtime fp32"]["psnr_db"] > 90
    assert 50 < rows["ONNX Runtime fp16"]["psnr_db"] < 90
    # A process without torch holds less.
    memory = {title: row["peak_megabytes"] for title, row in rows.items()}
    assert memory["ONNX Runtime fp32"] < memory["torch eager, static graph"] / 1.5
    assert report["machine"] == here()
    assert "RTX 2080 Ti" in json.dumps(report["estimates"])
    assert "estimates by rooflines, not measured" in done.out
    assert "| ONNX Runtime fp32 |" in text.read_text()
    again = run_any(app, "--measured", out, "--compare", out)
    assert (again.code, again.err) == (0, "")


@pytest.mark.slow
def test_a_short_run_by_ssh(
    run_any: Run, tmp_path: Path, tiny: None, ssh_server: SshServer
) -> None:
    out = tmp_path / "there.json"
    device = ["--device", ssh_server.address, "--ssh-config", ssh_server.config]
    options = ["--device-python", sys.executable, "--quick", "--size", 64, "--threads", 1]
    done = run_any(app, *device, *options, "--target", "onnx", "--out", out)
    assert (done.code, done.err) == (0, "")
    report = json.loads(out.read_text())
    assert report["machine"]["device"] == str(ssh_server.address)
    titles = [row["title"] for row in report["rows"]]
    assert titles == ["ONNX Runtime fp32", "ONNX Runtime fp16", "OpenVINO fp32"]
    for row in report["rows"]:
        assert row["reason"] is None
        assert row["reference"] == "ONNX Runtime fp32"
        assert row["end_to_end_ms"] > row["median_ms"] / 2
        assert row["psnr_db"] > 50
    # A report of another machine, by its name.
    here_too = tmp_path / "here.json"
    here_too.write_text(json.dumps(report | {"machine": here()}))
    refused = run_any(app, "--measured", out, "--compare", here_too)
    assert refused.code == 2
    assert "another machine" in refused.err


def test_a_phones_rows(tmp_path: Path) -> None:
    """The graph alone, by turns; the first row is what the other is compared with."""
    deployments = choose(targets="tflite", precisions=None, runtimes=None, portable=True)
    path = tmp_path / "model.tflite"
    path.write_bytes(b"x" * 2_000_000)
    subject = Subject(task="sr", model="nano", size=256, steps=3, parameters=1, macs=1_000_000_000)
    group: Any = SimpleNamespace(
        folder=tmp_path, subject=subject, artifact=lambda v: path, refusal=lambda v: None
    )
    said = {
        v.title: {"version": "LiteRT", "turns": {"model": [[t]] * 20}, "peak_mb": 30.0}
        for v, t in zip(deployments, (20.0, 5.0), strict=True)
    }
    phone: Any = SimpleNamespace(
        address="adb:ABC",
        machine=lambda: {"processor": "Maker Phone", "cores": None, "system": "Android 15"},
        measure=lambda models, counts, threads, told: said,
    )
    found = ByAdb(phone).measure(group, deployments, PAPER, 4, lambda what, rows: None)
    first, second = found.rows
    assert (first.ratio, second.ratio, second.ratio_interval) == (1.0, 4.0, (4.0, 4.0))
    assert (second.megabytes, second.peak_megabytes, second.fps) == (2.0, 30.0, 200.0)
    assert second.end_to_end_ms is None
    assert found.machine["device"] == "adb:ABC"
    assert found.peaks == {}
