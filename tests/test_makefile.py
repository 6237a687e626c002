"""`make`: values reach commands as they are, and nothing else is taken."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
_STUB = """#!/usr/bin/env python3
import json, sys
print(json.dumps(sys.argv[1:]))
"""

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


@pytest.fixture
def venv(tmp_path: Path) -> Path:
    """Return an environment whose commands print their arguments."""
    folder = tmp_path / "venv"
    (folder / "bin").mkdir(parents=True)
    for name in ("python", "elir-edge"):
        stub = folder / "bin" / name
        stub.write_text(_STUB)
        stub.chmod(0o755)
    for extra in ("export", "faces", "train", "tensorrt", "tflite"):
        (folder / f".has-{extra}").touch()
    return folder


def _make(venv: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    return subprocess.run(
        ["make", "--no-print-directory", "-C", str(ROOT), f"VENV={venv}", *arguments],
        env={**kept, **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def _arguments(done: subprocess.CompletedProcess[str]) -> list[str]:
    assert done.returncode == 0, done.stderr
    found: list[str] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_values_become_options(venv: Path) -> None:
    found = _arguments(_make(venv, "export", "TASK=sr", "PRECISION=int8", "SIZE=512", "OUT=a b"))
    assert found == [
        *("-m", "export", "--task", "sr", "--target", "onnx", "--out", "a b"),
        *("--precision", "int8", "--size", "512"),
    ]


@pytest.mark.parametrize(
    "value",
    ['x"; touch pwned; "', "$(touch pwned)", "`touch pwned`", "a$b", "a'b", "a b", "$$HOME"],
)
@pytest.mark.parametrize("name", ["TASK", "CHECKPOINT", "OUT"])
def test_no_value_is_run_or_changed(name: str, value: str, venv: Path) -> None:
    given = {"TASK": "sr", name: value}
    found = _arguments(_make(venv, "export", *(f"{k}={v}" for k, v in given.items())))
    assert found[found.index(f"--{name.lower()}") + 1] == value
    assert not (ROOT / "pwned").exists()


def test_the_demo_takes_a_bundle_and_a_port(venv: Path) -> None:
    found = _arguments(
        _make(venv, "demo", "BUNDLE=a b", "PORT=81", "--assume-old=apps/web/dist/index.html")
    )
    assert found == ["demo", "--bundle", "a b", "--port", "81"]


def test_further_arguments_are_split_and_not_run(venv: Path) -> None:
    done = _make(venv, "train", "TASK=sr", "DATA=p h", "ARGS=--device cuda; touch pwned *")
    found = _arguments(done)
    assert found[:6] == ["train", "sr", "--data", "p h", "--out", "runs/sr"]
    assert found[6:] == ["--device", "cuda;", "touch", "pwned", "*"]
    assert not (ROOT / "pwned").exists()


@pytest.mark.parametrize(("value", "on"), [("1", True), ("yes", True), ("0", False), ("no", False)])
def test_switches(value: str, on: bool, venv: Path) -> None:
    found = _arguments(_make(venv, "export", "TASK=sr", "TARGET=imx500", f"FIT={value}"))
    assert ("--fit" in found) == on
    found = _arguments(_make(venv, "export", "TASK=sr", "PRECISION=int8", f"QUICK={value}"))
    assert ("--quick" in found) == on
    found = _arguments(_make(venv, "train", "TASK=sr", "DATA=p", f"RESUME={value}"))
    assert ("--resume" in found) == on


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["export"], "no TASK given; expected one of: bfr sr denoising inpainting bsr"),
        (
            ["train", "DATA=p"],
            "no TASK given; expected one of: bfr sr denoising inpainting bsr auto",
        ),
        (["train", "TASK=sr"], "no DATA given"),
        (["export", "TASK=sr", "TARGET=coreml"], "unknown TARGET; expected one of: "),
        (["export", "task=sr"], "unknown variable task"),
        (["export", "TASK=sr", "SIZ=256"], "unknown variable SIZ; expected some of: TASK"),
    ],
)
def test_mistakes_are_named(arguments: list[str], message: str, venv: Path) -> None:
    done = _make(venv, *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert "[" not in done.stdout  # nothing was run


def test_the_environment_does_not_count_as_the_command_line(venv: Path) -> None:
    found = _arguments(_make(venv, "export", TASK="sr", unrelated="x", siz="256"))
    assert found[:4] == ["-m", "export", "--task", "sr"]


def test_help_lists_the_targets(venv: Path) -> None:
    done = _make(venv)
    for name in ("export", "train", "test", "mutants", "check"):
        assert f"make {name}" in done.stdout
