"""The sensor's tools from nothing: an empty cache, a HOME of its own, what the locks name."""

import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Mapping
from importlib.metadata import Distribution, distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from elir_edge.runtime.manifest import Manifest
from elir_edge.runtime.selftest import verify_bundle
from export.targets.imx500.convert import CHIP_BYTES
from export.targets.imx500.environment import (
    CONVERTER,
    QUANTIZER,
    ROOT,
    environment,
    lock_of,
    locked_versions,
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an empty HOME, which the tests of this file fill once."""
    return tmp_path_factory.mktemp("home")


@pytest.mark.parametrize("name", [QUANTIZER, CONVERTER])
def test_the_locks_are_closed_under_dependencies(
    name: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Made in an empty cache: whatever a locked package needs is locked, or the `export` extra's.

    What else lies in the environment that runs the tests is not there for a user.
    """
    monkeypatch.setenv("ELIR_EDGE_CACHE", str(home / "cache"))
    folder = environment(name, print)
    locked = {str(canonicalize_name(package)) for package in locked_versions(lock_of(name))}
    (site,) = folder.glob("lib/python*/site-packages")
    installed = _installed(site)
    users: dict[str, Distribution] = {}
    if name == QUANTIZER:
        users = _installed(Path(sysconfig.get_paths()["purelib"]))
        # What lies below in the locked version is not installed a second time.
        installed = users | installed
        users = {key: users[key] for key in _closure({("elir-edge", "export")}, users)}
    available = users | {key: installed[key] for key in locked}
    assert _missing(locked, available) == set()
    # The twin: without a package that another one needs.
    needed = {QUANTIZER: "pyparsing", CONVERTER: "python-dateutil"}[name]
    assert _missing(locked - {needed}, {k: v for k, v in available.items() if k != needed}) == {
        needed
    }


def test_a_whole_bundle(home: Path, tmp_path: Path) -> None:
    """Makes both environments where they are not there yet: needs Java and the package index."""
    command = [sys.executable, "-m", "export", "--task", "denoising", "--target", "imx500"]
    done = subprocess.run(
        [*command, "--out", str(tmp_path)],
        cwd=ROOT,
        env=os.environ | {"HOME": str(home), "ELIR_EDGE_CACHE": str(home / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    if "needs Java" in done.stderr or "could not be installed" in done.stderr:
        pytest.skip(done.stderr.strip().splitlines()[-1])
    assert done.returncode == 0, done.stderr
    (folder,) = tmp_path.iterdir()
    manifest = Manifest.from_json((folder / "manifest.json").read_text())
    assert {entry.role for entry in manifest.files} >= {"artifact", "sensor firmware"}
    assert manifest.target.details["memory"]["used"] <= CHIP_BYTES
    assert zipfile.ZipFile(folder / "packerOut.zip").testzip() is None
    assert json.loads((folder / "memory-report.json").read_text())["Memory Report"]["Fit In Chip"]
    assert verify_bundle(folder).passed


def _installed(site: Path) -> dict[str, Distribution]:
    return {
        canonicalize_name(found.metadata["Name"]): found
        for found in distributions(path=[str(site)])
    }


def _requirements(found: Distribution, extra: str) -> set[tuple[str, str]]:
    needed = [Requirement(text) for text in found.requires or ()]
    return {
        (str(canonicalize_name(each.name)), part)
        for each in needed
        if each.marker is None or each.marker.evaluate({"extra": extra})
        for part in (each.extras or {""})
    }


def _closure(start: set[tuple[str, str]], known: Mapping[str, Distribution]) -> set[str]:
    """Return the names of what is needed, as far as it is known."""
    seen: set[tuple[str, str]] = set()
    open_ends = set(start)
    while open_ends:
        name, extra = each = open_ends.pop()
        seen.add(each)
        if name in known:
            open_ends |= _requirements(known[name], extra) - seen
    return {name for name, _ in seen if name in known}


def _missing(locked: set[str], available: Mapping[str, Distribution]) -> set[str]:
    return {
        name
        for key in locked
        for name, _ in _requirements(available[key], "")
        if name not in available
    }
