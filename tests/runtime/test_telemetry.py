"""Restoring asks no host and leaves no device id: ONNX Runtime's telemetry is off."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_SCRIPT = """
import sys, time
import numpy as np
from elir_edge.runtime import Restorer
Restorer(sys.argv[1], threads=1).run(np.zeros((64, 64, 3), np.float32))
time.sleep(1)
"""


def _files_left(command: list[str], home: Path, **variables: str) -> list[str]:
    home.mkdir()
    kept = {k: v for k, v in os.environ.items() if k not in ("ORT_DISABLE_TELEMETRY",)}
    kept |= {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache"), **variables}
    subprocess.run(command, env=kept, check=True, timeout=300, cwd=ROOT, capture_output=True)
    return sorted(path.name for path in home.rglob("*") if path.is_file())


def test_nothing_is_written_below_the_home(tiny_bundle: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", _SCRIPT, str(tiny_bundle)]
    assert _files_left(command, tmp_path / "home") == []


def test_nor_by_an_export(tiny_checkpoint: Path, tmp_path: Path) -> None:
    """Other packages import ONNX Runtime on the way."""
    command = [sys.executable, "-m", "export", "--task", "denoising", "--target", "onnx"]
    command += [
        "--size",
        "64",
        "--checkpoint",
        str(tiny_checkpoint),
        "--out",
        str(tmp_path / "out"),
    ]
    left = _files_left(command, tmp_path / "home")
    assert "deviceid" not in left
    assert not [name for name in left if "onnxruntime" in name]


def test_whoever_wants_telemetry_has_it(tiny_bundle: Path, tmp_path: Path) -> None:
    """The twin: what would be left, if the variable were not set."""
    command = [sys.executable, "-c", _SCRIPT, str(tiny_bundle)]
    left = _files_left(command, tmp_path / "home", ORT_DISABLE_TELEMETRY="0")
    if not left:
        pytest.skip("this build of ONNX Runtime leaves nothing anyway")
    assert "deviceid" in left
