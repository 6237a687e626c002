"""The iOS app: its package compiled by Swift for Linux, against Python's numbers; never on a phone.

It needs Swift, or a folder in `ELIR_EDGE_SWIFT` into which `apps/ios/check.sh` lays Debian 13's:
3 GB, which no other test should wait for.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.apps.golden import GOLDEN, altered_golden

pytestmark = pytest.mark.slow

_SCRIPT = Path(__file__).parents[2] / "apps" / "ios" / "check.sh"


def _check(golden: Path, manifest: Path) -> subprocess.CompletedProcess[str]:
    folder = os.environ.get("ELIR_EDGE_SWIFT")
    if shutil.which("swift") is None and folder is None:
        pytest.skip("needs Swift, or ELIR_EDGE_SWIFT=folder for 3 GB of Debian 13")
    environment = {**os.environ, "ELIR_GOLDEN": str(golden), "ELIR_MANIFEST": str(manifest)}
    return subprocess.run(
        [str(_SCRIPT), *([] if folder is None else [folder])],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_core_computes_as_python(tiny_bundle: Path) -> None:
    """The app's files are parsed on the way; a manifest that Python wrote is read."""
    done = _check(GOLDEN, tiny_bundle / "manifest.json")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "Executed 10 tests, with 0 failures" in done.stdout


def test_other_numbers_are_noticed(tiny_bundle: Path, tmp_path: Path) -> None:
    """The twin of the test above: one byte of one recorded picture is another."""
    changed = tmp_path / "apps.json"
    name = altered_golden(changed)
    done = _check(changed, tiny_bundle / "manifest.json")
    assert done.returncode != 0
    assert "testRestoredPixelsArePythons" in done.stdout
    assert name in done.stdout
