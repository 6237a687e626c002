"""Rows beside ours: ratios to the same runtime, reasons, random weights said; bad options."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks import peer_rows, peers
from benchmarks.architectures import ARCHITECTURES, Architecture
from benchmarks.peer_rows import (
    OWN,
    PUBLISHED_SIZE,
    RANDOM,
    Entry,
    Subject,
    count_turns,
    measure,
    published_size_entries,
)
from benchmarks.peers import app, licences, table
from elir_edge.errors import ElirError, UsageError
from tests.conftest import Run


def _entry(title: str, runtime: str, ms: float | None) -> Entry:
    subject = Subject(title=title, runtime=runtime, task="bsr", weights=RANDOM, image="64 -> 256")
    if ms is None:
        return Entry(subject=subject, reason="the exporter refuses it")
    return Entry(subject=subject, call=lambda: ms)


def test_rows_are_compared_with_ours_in_the_same_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        peer_rows,
        "take_turns",
        lambda calls, rounds, told: {k: [[float(call())]] * rounds for k, call in calls.items()},
    )
    entries = [
        _entry(OWN, "torch eager", 40.0),
        _entry(OWN, "ONNX Runtime", 20.0),
        _entry("DAT", "torch eager", 800.0),
        _entry("DAT", "ONNX Runtime", None),
        _entry("SPAN", "ncnn", 10.0),
    ]
    rows = measure(entries, rounds=2)
    assert [row.median_ms for row in rows] == [40, 20, 800, None, 10]
    assert [r.nano_is_faster_by and round(r.nano_is_faster_by.value, 3) for r in rows] == [
        None, None, 20.0, None, 0.5,
    ]  # fmt: skip
    assert rows[3].reason == "the exporter refuses it"
    assert rows[2].to_json()["weights"] == "random weights, speed only"
    assert rows[2].to_json()["nano_is_faster_by"] == {"value": 20.0, "low": 20.0, "high": 20.0}
    shown = table("bsr", rows, threads=2)
    assert shown.row_count == len(rows)
    assert list(shown.columns[1].cells)[2] == "random"
    assert "random weights: speed only" in str(shown.title)
    assert table("bfr", rows, threads=2).row_count == 0
    licensed = replace(rows[2], subject=replace(rows[2].subject, licence="Apache-2.0"))
    assert licences([*rows, licensed]) == ["DAT: Apache-2.0"]


def test_every_turn_is_told() -> None:
    entries = [_entry(OWN, "torch eager", 1.0), _entry(OWN, "ONNX Runtime", 1.0)]
    entries.append(_entry("DAT", "ONNX Runtime", None))
    told: list[str] = []
    measure(entries, 3, told.append)
    assert len(told) == count_turns(entries, 3) == 8


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--tasks", "denoising"], "no peers of denoising are known"),
        (["--tasks", "deblurring"], "unknown task 'deblurring'"),
        (["--architectures", ""], "no architecture of bfr, bsr begins with ''"),
        (["--architectures", "swinir,vqfr"], "no architecture of bfr, bsr begins with vqfr"),
        (["--tasks", "bfr", "--architectures", "span"], "no architecture of bfr begins with span"),
        (["--tasks", "bfr", "--ncnn", "peers"], "--ncnn's peers are of bsr; got --tasks bfr"),
        (["--architectures", "none", "--onnx", "nowhere.onnx"], "--onnx nowhere.onnx: no such"),
        (["--architectures", "none", "--tflite", "nowhere"], "--tflite nowhere: no such"),
    ],
)
def test_options_that_cannot_work(arguments: list[str], message: str) -> None:
    done = CliRunner().invoke(app, arguments)
    assert isinstance(done.exception, UsageError)
    assert message in str(done.exception)


def test_files_that_cannot_run_are_said_before_anything_is_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peer_rows, "shipped_model", lambda task: pytest.fail("built too early"))
    path = tmp_path / "model.onnx"
    path.write_bytes(b"no model")
    done = CliRunner().invoke(app, ["--onnx", str(path)])
    assert isinstance(done.exception, ElirError)
    assert "model.onnx is no ONNX file" in str(done.exception)


def test_a_run_writes_each_task_and_says_what_is_published(
    tmp_path: Path, run_any: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "peers.json"
    own = [_entry(OWN, "torch eager", 0.0), _entry(OWN, "ONNX Runtime", 0.0)]
    published = [_entry(PUBLISHED_SIZE, "torch eager", 0.0)]
    monkeypatch.setattr(peers, "own_entries", lambda task, threads: _of(own, task))
    monkeypatch.setattr(peers, "published_size_entries", lambda task, threads: _of(published, task))

    def others(architecture: Architecture, folder: Path, threads: int) -> list[Entry]:
        if architecture.task == "bsr":
            assert [row["task"] for row in json.loads(out.read_text())["rows"]] == ["bfr"] * 5
        title = architecture.title
        entries = [_entry(title, "torch eager", 0.0), _entry(title, "ONNX Runtime", None)]
        return _of(entries, architecture.task)

    monkeypatch.setattr(peers, "peer_entries", others)
    monkeypatch.setattr(peers, "require_packages", lambda: None)
    done = run_any(
        app, "--architectures", "codeformer,span", "--rounds", 1, "--threads", 1, "--out", out
    )
    assert (done.code, done.err) == (0, "")
    report = json.loads(out.read_text())
    titles = [(row["task"], row["title"], row["runtime"]) for row in report["rows"]]
    assert titles[2:5] == [
        ("bfr", PUBLISHED_SIZE, "torch eager"),
        ("bfr", "CodeFormer", "torch eager"),
        ("bfr", "CodeFormer", "ONNX Runtime"),
    ]
    assert titles[8:] == [("bsr", "SPAN", "torch eager"), ("bsr", "SPAN", "ONNX Runtime")]
    assert report["rows"][4]["reason"] == "the exporter refuses it"
    assert report["rows"][0]["nano_is_faster_by"] is None
    assert report["rows"][2]["nano_is_faster_by"]["low"] is None  # a single round
    assert "published, not measured here" in " ".join(done.out.split())


def _of(entries: Sequence[Entry], task: str) -> list[Entry]:
    return [replace(each, subject=replace(each.subject, task=task)) for each in entries]


def test_trained_peers_that_cannot_run_are_said_before_anything_is_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peer_rows, "shipped_model", lambda task: pytest.fail("built too early"))
    done = CliRunner().invoke(app, ["--ncnn", str(tmp_path)])
    assert isinstance(done.exception, UsageError)
    assert "spanx4_ch48.param" in str(done.exception)


@pytest.mark.slow
def test_elir_of_the_published_size_has_random_weights() -> None:
    rows = published_size_entries("bsr", threads=1)
    assert [(e.subject.title, e.subject.runtime) for e in rows] == [
        (PUBLISHED_SIZE, "torch eager"), (PUBLISHED_SIZE, "ONNX Runtime"),
    ]  # fmt: skip
    assert {e.subject.weights for e in rows} == {RANDOM}
    # Table 1(b): 18 M; counted without noise and heads of training.
    assert rows[0].subject.parameters_m == pytest.approx(18, rel=0.1)


def test_titles_are_told_apart() -> None:
    assert len({a.title for a in ARCHITECTURES}) == len(ARCHITECTURES)
