"""The wheel, as someone without a checkout gets it: in an empty environment, without torch."""

import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from elir_edge.tasks import TASKS

_ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the wheel, built as `python -m build` does with what is installed here."""
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out)]
    subprocess.run(command, cwd=_ROOT, check=True)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the Python of an environment that has the wheel and what it depends on."""
    folder = tmp_path_factory.mktemp("empty") / "venv"
    venv.create(folder, with_pip=True)
    installed = folder / "bin" / "python"
    lock = str(_ROOT / "requirements.lock")
    pip = [str(installed), "-m", "pip", "install", "--quiet", "--constraint", lock]
    subprocess.run([*pip, str(wheel)], check=True)
    return installed


def test_what_is_in_it(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    for task in TASKS:
        (model,) = (n for n in names if f"/ready/{task}-nano-" in n and n.endswith("/model.onnx"))
        folder = model.rpartition("/")[0]
        assert f"{folder}/manifest.json" in names
        assert f"{folder}/manifest.sha256" in names
    assert not any(name.startswith(("export/", "tests/", "benchmarks/")) for name in names)
    assert wheel.stat().st_size < 60e6


@pytest.mark.parametrize("task", TASKS)
def test_it_restores_without_torch(task: str, python: Path, tmp_path: Path) -> None:
    modules = "import importlib.util as u; print([u.find_spec(n) for n in ('torch', 'export')])"
    asked = [str(python), "-c", modules]
    done = subprocess.run(asked, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "[None, None]\n"
    pixels = np.random.default_rng(0).integers(0, 256, (40, 44, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.jpg")
    command = [python.with_name("elir-edge"), "restore", "photo.jpg", "out.jpg", "--task", task]
    subprocess.run([*map(str, command)], cwd=tmp_path, check=True)
    scale = TASKS[task].upscale
    assert Image.open(tmp_path / "out.jpg").size == (44 * scale, 40 * scale)
