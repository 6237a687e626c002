"""Runs the code of a bundle's README, as it stands, in the folder that holds the bundle."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

_BLOCK = re.compile(r"```(\w+)\n(.*?)```", re.DOTALL)


def blocks(readme: Path, language: str) -> list[str]:
    """Return the README's blocks of code in a language."""
    found = _BLOCK.findall(readme.read_text(encoding="utf-8"))
    return [code for name, code in found if name == language]


def run_blocks(
    bundle: Path, photo: Path, *, languages: tuple[str, ...] = ("sh", "python")
) -> list[np.ndarray]:
    """Run every block on a photo; return the restored pixels of those that make some."""
    folder = bundle.parent
    (folder / "photo.png").write_bytes(photo.read_bytes())
    commands = {"sh": ["sh", "-e", "-c"], "python": [sys.executable, "-c"]}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    made = []
    for language in languages:
        for code in blocks(bundle / "README.md", language):
            (folder / "restored.png").unlink(missing_ok=True)
            done = subprocess.run(
                [*commands[language], code],
                cwd=folder,
                env=os.environ | {"PATH": path},
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, f"{code}\n{done.stderr}"
            if (folder / "restored.png").is_file():
                made.append(np.asarray(Image.open(folder / "restored.png")))
    return made
