"""Environments appear whole or not at all, once, and say what is missing."""

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

import export.targets.imx500.environment as environment_module
from elir_edge.errors import ExportError
from export.targets.imx500.environment import (
    CONVERTER,
    QUANTIZER,
    ROOT,
    environment,
    lock_of,
    locked_version,
    locked_versions,
    require_java,
)


class _Fake:
    """Stands for venv and pip."""

    def __init__(self, *, fail: bool = False) -> None:
        self.commands: list[Sequence[str]] = []
        self._fail = fail

    def __call__(self, command: Sequence[str]) -> None:
        self.commands.append(command)
        if "venv" in command:
            tools = Path(command[-1]) / "bin"
            tools.mkdir(parents=True)
            (tools / "imxconv-pt").write_text(f"#!{tools / 'python'}\n")
        elif self._fail:
            raise ExportError("no network")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ELIR_EDGE_CACHE", str(tmp_path))
    return tmp_path / "imx500"


def test_made_once_with_scripts_that_run_where_they_end_up() -> None:
    fake, said = _Fake(), list[str]()
    folder = environment(CONVERTER, said.append, fake)
    assert (folder / "bin" / "imxconv-pt").read_text() == f"#!{folder / 'bin' / 'python'}\n"
    assert said == ["installing the converter (first use)"]
    assert any(str(argument).endswith("converter.lock") for argument in fake.commands[1])
    again = _Fake()
    assert environment(CONVERTER, said.append, again) == folder
    assert not again.commands


def test_the_quantizers_lies_over_this_one() -> None:
    folder = environment(QUANTIZER, lambda text: None, _Fake())
    (layer,) = folder.rglob("below.pth")
    below = Path(layer.read_text().strip())
    assert (below / "torch").is_dir()
    assert not list(environment(CONVERTER, lambda text: None, _Fake()).rglob("below.pth"))


def test_nothing_is_left_of_a_failure(cache: Path) -> None:
    with pytest.raises(ExportError, match="no network"):
        environment(CONVERTER, lambda text: None, _Fake(fail=True))
    assert not list(cache.iterdir())


def test_its_name_tells_the_lock(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Another lock is another environment; the same is the same."""
    first = environment(CONVERTER, lambda text: None, _Fake())
    lock = tmp_path / "converter.lock"
    lock.write_text(lock_of(CONVERTER).read_text() + "one-more==1.0\n")
    monkeypatch.setattr(environment_module, "lock_of", lambda name: lock)
    second = environment(CONVERTER, lambda text: None, _Fake())
    assert first.parent == second.parent
    assert first.name.startswith("converter-")
    assert len(first.name) == len(second.name) == len("converter-") + 12
    assert first != second


def test_pip_installs_what_the_lock_names() -> None:
    """Without looking for dependencies: the quantizer's torch is the one below."""
    fake = _Fake()
    folder = environment(QUANTIZER, lambda text: None, fake)
    made, install = fake.commands
    assert made[:3] == [sys.executable, "-m", "venv"]
    assert Path(install[0]).name == "python"
    assert install[1:4] == ["-m", "pip", "install"]
    assert {"--no-deps", "--requirement"} <= set(install)
    assert install[-1] == str(lock_of(QUANTIZER))
    (layer,) = folder.rglob("below.pth")
    major, minor = sys.version_info[:2]
    assert layer.parent == folder / "lib" / f"python{major}.{minor}" / "site-packages"


def test_links_among_the_scripts_are_left_alone(tmp_path: Path) -> None:
    class Linking(_Fake):
        def __call__(self, command: Sequence[str]) -> None:
            super().__call__(command)
            if "venv" in command:
                python.write_text(f"#!{command[-1]}\n")
                (Path(command[-1]) / "bin" / "python").symlink_to(python)
                (Path(command[-1]) / "bin" / "folder").mkdir()

    python = tmp_path / "python"
    folder = environment(CONVERTER, lambda text: None, Linking())
    assert (folder / "bin" / "python").is_symlink()
    assert not python.read_text().startswith(f"#!{folder}")


@pytest.mark.parametrize(
    ("said", "got"),
    [
        ("ERROR: a\nnote\nERROR: b\nERROR: c\n", "got ERROR: b; ERROR: c; fix"),
        ("no room\n", "got no room; fix"),
        ("z" * 301, f"got {'z' * 300}; fix"),
    ],
)
def test_what_pip_says(said: str, got: str) -> None:
    """Its last two errors, or the end of what it says, at most 300 characters."""
    code = f"import sys; sys.stderr.write({said!r}); sys.exit(1)"
    with pytest.raises(ExportError) as caught:
        environment_module._run([sys.executable, "-c", code])
    assert got in str(caught.value)
    environment_module._run([sys.executable, "-c", ""])


def test_no_java(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ExportError, match=r"needs Java.*fix: install one"):
        require_java()


def test_torchvision_goes_with_the_locked_torch() -> None:
    """Of torchvision, 0.n + 15 is for torch 2.n: MCT's layer has the one and shares the other."""
    torch = locked_versions(ROOT / "requirements.lock")["torch"].split(".")
    vision = locked_version(QUANTIZER, "torchvision").split(".")
    assert int(vision[1]) == int(torch[1]) + 15
