"""Builds the wheel (PEP 517): setuptools, after the ready bundles are made.

Making them needs what the export needs, PyTorch among it; a wheel has them, and installing it needs
none of that. Where they are made already (`make bundles`), nothing else is asked for.
`ELIR_EDGE_WITHOUT_BUNDLES=1` leaves them out.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

from setuptools import build_meta
from setuptools.build_meta import *  # noqa: F403  # all other hooks are setuptools'

_ROOT = Path(__file__).parent


def get_requires_for_build_wheel(config_settings=None):
    """Return what building needs beside setuptools."""
    needed = build_meta.get_requires_for_build_wheel(config_settings)
    return needed if _left_out() or _are_made() else [*needed, *_export_requirements()]


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    """Make the ready bundles, then the wheel."""
    # setuptools adds to what an earlier build left there, and never takes away.
    shutil.rmtree(_ROOT / "build" / "lib", ignore_errors=True)
    if not _left_out() and not _are_made():
        subprocess.run([sys.executable, "-m", "export.ready"], cwd=_ROOT, check=True)
    with _set_aside() if _left_out() else contextlib.nullcontext():
        return build_meta.build_wheel(wheel_directory, config_settings, metadata_directory)


@contextlib.contextmanager
def _set_aside():
    """Keep bundles that are there out of the wheel."""
    ready, aside = (_ROOT / "elir_edge" / "weights" / name for name in ("ready", ".ready-aside"))
    if ready.is_dir():
        ready.rename(aside)
    try:
        yield
    finally:
        if aside.is_dir():
            aside.rename(ready)


def _are_made():
    sys.path.insert(0, str(_ROOT))
    try:
        from export.freshness import is_fresh
    finally:
        sys.path.remove(str(_ROOT))
    return is_fresh()


def _left_out():
    return os.environ.get("ELIR_EDGE_WITHOUT_BUNDLES", "0") not in ("", "0")


def _export_requirements():
    """Return the dependencies of the runtime, of `train` and of `export`."""
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *extras["train"], *extras["export"]]
    return [each for each in wanted if not each.startswith("elir-edge[")]
