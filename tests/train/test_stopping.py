"""Runs that people stop: signals, minutes, states by time, and what is told meanwhile."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from elir_edge.checkpoints.own import read_checkpoint
from elir_edge.errors import TrainingError, UsageError
from elir_edge.tasks import AUTOENCODER
from elir_edge.train import loop
from elir_edge.train.config import TrainConfig
from elir_edge.train.loop import RunOptions
from elir_edge.train.run import RunInputs, is_trained, run_training
from tests.conftest import tiny_config

CONFIG = TrainConfig(
    task=AUTOENCODER,
    model=tiny_config(),
    steps=5,
    batch_size=2,
    crop_size=32,
    learning_rate=1e-3,
)


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_signal_ends_a_run_with_a_checkpoint(
    name: str, code: int, photos: Path, tmp_path: Path
) -> None:
    """After the step at hand: state, exportable checkpoint, one line that says how to go on."""
    command = [sys.executable, "-m", "elir_edge", "train", AUTOENCODER, "--data", str(photos)]
    command += [
        "--preset",
        "paper",
        "--steps",
        "100000",
        "--batch-size",
        "1",
        "--crop-size",
        "32",
        "--precision",
    ]
    command += ["fp32", "--log-every", "1", "--out", str(tmp_path)]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    log = tmp_path / "log.jsonl"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not (log.exists() and '"step": 3,' in log.read_text()):
        time.sleep(0.02)
    process.send_signal(getattr(signal, name))
    out, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert "stopped after step" in out
    assert "--resume (make: RESUME=1)" in " ".join(out.split())
    assert "Traceback" not in err
    checkpoint = read_checkpoint(tmp_path / "checkpoint.safetensors", task=AUTOENCODER)
    steps = checkpoint.training["steps"]
    assert steps >= 3
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    assert state["step"] == steps


def test_minutes_end_a_run_with_a_checkpoint_and_it_goes_on(photos: Path, tmp_path: Path) -> None:
    inputs = RunInputs(photos=[photos])
    done = run_training(CONFIG, inputs, RunOptions(out=tmp_path, minutes=0.0))
    assert (done.step, done.finished, done.signal) == (1, False, None)
    assert not is_trained(done.path, AUTOENCODER, CONFIG)
    first = done.path.read_bytes()
    done = run_training(CONFIG, inputs, RunOptions(out=tmp_path, resume=True))
    assert (done.step, done.finished) == (5, True)
    assert done.path.read_bytes() != first
    assert is_trained(done.path, AUTOENCODER, CONFIG)
    assert not is_trained(tmp_path / "none", AUTOENCODER, CONFIG)


def test_the_state_is_also_saved_by_time(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved: list[int] = []
    from elir_edge.train.state import TrainState

    keep = TrainState.save
    monkeypatch.setattr(
        TrainState, "save", lambda self, folder: (saved.append(self.step), keep(self, folder))
    )
    inputs = RunInputs(photos=[photos])
    run_training(CONFIG, inputs, RunOptions(out=tmp_path / "often", save_minutes=0.0))
    assert saved == [1, 2, 3, 4, 5]
    saved.clear()
    run_training(CONFIG, inputs, RunOptions(out=tmp_path / "never", save_minutes=None))
    assert saved == [5]


def test_the_time_left_is_told_without_a_terminal(
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    inputs = RunInputs(photos=[photos])
    run_training(CONFIG, inputs, RunOptions(out=tmp_path / "quiet"))
    assert "left" not in capsys.readouterr().out  # it took less than a minute
    monkeypatch.setattr(loop, "_PRINT_SECONDS", 0)
    run_training(CONFIG, inputs, RunOptions(out=tmp_path / "told"))
    told = [line for line in capsys.readouterr().out.splitlines() if line.endswith(" left")]
    assert [line.split(",")[0] for line in told] == [f"step {n} of 5" for n in range(1, 6)]
    assert told[-1].endswith(", 0:00:00 left")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not a state",
        {"config": 3, "materials": {}},
        {"config": "{", "materials": {}},
        {"config": "{}", "materials": 7},
        ["a", "list"],
        {},
    ],
    ids=["empty", "text", "number", "cut JSON", "no mapping", "list", "nothing"],
)
def test_malformed_states_are_one_line(content: object, photos: Path, tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    with pytest.raises(TrainingError, match="is damaged or not a training state"):
        run_training(CONFIG, RunInputs(photos=[photos]), RunOptions(out=tmp_path, resume=True))


def test_a_state_with_other_parts_is_one_line(photos: Path, tmp_path: Path) -> None:
    inputs = RunInputs(photos=[photos])
    run_training(CONFIG, inputs, RunOptions(out=tmp_path, minutes=0.0))
    path = tmp_path / "state.pt"
    state = torch.load(path, weights_only=True)
    for field in ("parts", "average", "optimizer", "step"):
        torch.save({**state, field: {} if field != "step" else "three"}, path)
        with pytest.raises(TrainingError, match="is damaged or not a training state"):
            run_training(CONFIG, inputs, RunOptions(out=tmp_path, resume=True))
    torch.save(state, path)
    assert run_training(CONFIG, inputs, RunOptions(out=tmp_path, resume=True)).finished


def test_a_malicious_state_runs_nothing(photos: Path, tmp_path: Path) -> None:
    class Attack:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {tmp_path / 'owned'}",)

    torch.save({"config": Attack()}, tmp_path / "state.pt")
    with pytest.raises(TrainingError, match="is damaged or not a training state"):
        run_training(CONFIG, RunInputs(photos=[photos]), RunOptions(out=tmp_path, resume=True))
    assert not (tmp_path / "owned").exists()


def test_a_full_disk_is_one_line_and_keeps_the_state(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = RunInputs(photos=[photos])
    run_training(CONFIG, inputs, RunOptions(out=tmp_path, minutes=0.0))
    before = (tmp_path / "state.pt").read_bytes()

    def full(state: object, path: Path) -> None:
        path.write_bytes(b"half")
        raise RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(TrainingError, match="the state cannot be written"):
        run_training(CONFIG, inputs, RunOptions(out=tmp_path, resume=True))
    assert (tmp_path / "state.pt").read_bytes() == before
    assert not list(tmp_path.glob(".state*"))


@pytest.mark.parametrize("minutes", [-1.0, float("nan"), float("inf")])
def test_times_that_are_none(minutes: float, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--minutes .* is not a duration"):
        RunOptions(out=tmp_path, minutes=minutes)
    with pytest.raises(UsageError, match=r"--save-minutes .* is not a duration"):
        RunOptions(out=tmp_path, save_minutes=minutes)


@pytest.mark.parametrize("line", ["garbage\n", '{"a": 1}\n', "[3]\n"])
def test_a_damaged_log_is_one_line(line: str, photos: Path, tmp_path: Path) -> None:
    inputs = RunInputs(photos=[photos])
    run_training(CONFIG, inputs, RunOptions(out=tmp_path, minutes=0.0))
    (tmp_path / "log.jsonl").write_text(line)
    with pytest.raises(TrainingError, match=r"log\.jsonl is damaged"):
        run_training(CONFIG, inputs, RunOptions(out=tmp_path, resume=True))


def test_torchs_own_initialization_and_no_clipping(photos: Path, tmp_path: Path) -> None:
    config = dataclasses.replace(CONFIG, steps=1, initialization="torch", clip_norm=None)
    files = []
    for name in ("a", "b"):
        options = RunOptions(out=tmp_path / name, log_every=1)
        files.append(run_training(config, RunInputs(photos=[photos]), options).path)
    assert files[0].read_bytes() == files[1].read_bytes()
    he = dataclasses.replace(CONFIG, steps=1)
    other = run_training(he, RunInputs(photos=[photos]), RunOptions(out=tmp_path / "he")).path
    assert other.read_bytes() != files[0].read_bytes()
    # torch's weights are uniform in +- 1 / sqrt(fan-in): 27 inputs, one step of 1e-3 behind.
    state = read_checkpoint(files[0], task=AUTOENCODER).state
    first = state["encoder.layers.0.weight"].abs().max().item()
    assert first <= 27**-0.5 + 0.002
    assert first > 0.8 * 27**-0.5
    logged = json.loads((tmp_path / "a" / "log.jsonl").read_text().splitlines()[0])
    assert logged["grad_norm"] > 0
