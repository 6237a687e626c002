"""The Android app: compiled here, its core tested against Python's numbers; never on a phone."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from export.plan import run_export
from export.request import Request
from tests.apps.golden import GOLDEN, altered_golden

pytestmark = pytest.mark.slow

_SCRIPT = Path(__file__).parents[2] / "apps" / "android" / "check.sh"


@pytest.fixture(scope="module")
def manifest(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the manifest of a small bundle for phones."""
    request = Request(
        task="denoising",
        target="tflite",
        precision="fp32",
        size=64,
        checkpoint=tiny_checkpoint,
        out=tmp_path_factory.mktemp("dist"),
    )
    return run_export(request).folder / "manifest.json"


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("npm") is None:
        pytest.skip("needs npm, which brings the Kotlin compiler")
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        pytest.skip("apps/android/check.sh installs by apt-get, as root")
    return tmp_path_factory.mktemp("kotlin")


def _check(work: Path, manifest: Path, golden: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(_SCRIPT), str(work), str(manifest), str(golden)],
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_core_computes_as_python(work: Path, manifest: Path) -> None:
    """The app's files are compiled on the way, against declarations of Android's."""
    done = _check(work, manifest, GOLDEN)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "OK (10 tests)" in done.stdout


def test_other_numbers_are_noticed(work: Path, manifest: Path, tmp_path: Path) -> None:
    """The twin of the test above: one byte of one recorded picture is another."""
    changed = tmp_path / "apps.json"
    name = altered_golden(changed)
    done = _check(work, manifest, changed)
    assert done.returncode != 0
    assert f"{name}: differs by 8 of 255 at 33" in done.stdout
