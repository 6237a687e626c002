"""The README's two ways to restore, typed as they stand where `make export` has been."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.export.readme import blocks

ROOT = Path(__file__).parents[1]
_RESTORE = ".venv/bin/elir-edge restore "

pytestmark = pytest.mark.slow


def test_what_is_exported_restores_as_shown(tmp_path: Path) -> None:
    lines = [line for text in blocks(ROOT / "README.md", "sh") for line in text.splitlines()]
    exports = [line for line in lines if line.startswith("make export")]
    restores = [line for line in lines if line.startswith(_RESTORE)]
    assert exports[0].split("#")[0].split() == [
        *("make", "export", "TASK=denoising", "TARGET=onnx"),
    ]
    assert len(restores) == 2
    command = [sys.executable, "-m", "export", "--task", "denoising", "--target", "onnx"]
    subprocess.run([*command, "--out", str(tmp_path / "dist")], cwd=ROOT, check=True)
    (tmp_path / ".venv").symlink_to(sys.prefix)
    (tmp_path / "photos" / "trip").mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (200, 300, 3), dtype=np.uint8)
    for name in ("photo.jpg", "photos/a.png", "photos/trip/b.jpg"):
        Image.fromarray(pixels).save(tmp_path / name)
    for line in restores:
        done = subprocess.run(
            shlex.split(line, comments=True),
            cwd=tmp_path,
            env=os.environ | {"HOME": str(tmp_path / "home")},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    for name in ("restored.jpg", "restored/a.png", "restored/trip/b.jpg"):
        with Image.open(tmp_path / name) as restored:
            assert restored.size == (300, 200)
            assert not np.array_equal(np.asarray(restored), pixels)
