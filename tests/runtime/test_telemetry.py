"""Restoring asks no host and leaves no device id: ONNX Runtime's telemetry is off."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

_SCRIPT = """
import sys, time
import numpy as np
from elir_edge.runtime import Restorer
Restorer(sys.argv[1], threads=1).run(np.zeros((64, 64, 3), np.float32))
time.sleep(1)
"""


def _files_left(bundle: Path, home: Path, **variables: str) -> list[str]:
    home.mkdir()
    kept = {k: v for k, v in os.environ.items() if k not in ("ORT_DISABLE_TELEMETRY",)}
    kept |= {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache"), **variables}
    command = [sys.executable, "-c", _SCRIPT, str(bundle)]
    subprocess.run(command, env=kept, check=True, timeout=120)
    return sorted(path.name for path in home.rglob("*") if path.is_file())


def test_nothing_is_written_below_the_home(tiny_bundle: Path, tmp_path: Path) -> None:
    assert _files_left(tiny_bundle, tmp_path / "home") == []


def test_whoever_wants_telemetry_has_it(tiny_bundle: Path, tmp_path: Path) -> None:
    """The twin: what would be left, if the variable were not set."""
    left = _files_left(tiny_bundle, tmp_path / "home", ORT_DISABLE_TELEMETRY="0")
    if not left:
        pytest.skip("this build of ONNX Runtime leaves nothing anyway")
    assert "deviceid" in left
