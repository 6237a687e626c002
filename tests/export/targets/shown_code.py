"""Runs the Python that bundles' READMEs show, with a runtime of our own in the place of theirs."""

import os
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

Feed = dict[str, np.ndarray]


def python_of(text: str) -> str:
    """Return the only block of Python in a text."""
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    return str(code)


def run_shown(
    text: str, module: ModuleType, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[np.ndarray, np.ndarray]:
    """Run the shown code on a random photo of 100 x 70 pixels; return the photo and its result.

    Args:
        text: what shows the code.
        module: the runtime; a package that it lies in is made, too.
        folder: an empty folder to run in.
        monkeypatch: changes modules and folder for the test.
    """
    photo = np.random.default_rng(0).integers(0, 256, (70, 100, 3), dtype=np.uint8)
    Image.fromarray(photo).save(folder / "photo.png")
    package, _, _ = module.__name__.rpartition(".")
    if package:
        monkeypatch.setitem(sys.modules, package, ModuleType(package))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.chdir(folder)
    assert os.listdir(folder) == ["photo.png"]
    variables: dict[str, Any] = {}
    exec(compile(python_of(text), "README.md", "exec"), variables)
    return photo, np.asarray(Image.open(folder / "restored.png"))
