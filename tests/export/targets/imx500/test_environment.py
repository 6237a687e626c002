"""Environments appear whole or not at all, once, and say what is missing."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from elir_edge.errors import ExportError
from export.targets.imx500.environment import (
    CONVERTER,
    QUANTIZER,
    ROOT,
    environment,
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


def test_no_java(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ExportError, match=r"needs Java.*fix: install one"):
        require_java()


def test_torchvision_goes_with_the_locked_torch() -> None:
    """Of torchvision, 0.n + 15 is for torch 2.n: MCT's layer has the one and shares the other."""
    torch = locked_versions(ROOT / "requirements.lock")["torch"].split(".")
    vision = locked_version(QUANTIZER, "torchvision").split(".")
    assert int(vision[1]) == int(torch[1]) + 15
