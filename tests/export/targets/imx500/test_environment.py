"""Environments appear whole or not at all, once, and say what is missing."""

import sysconfig
from collections.abc import Mapping, Sequence
from importlib.metadata import Distribution, distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

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


@pytest.mark.slow
@pytest.mark.parametrize("name", [QUANTIZER, CONVERTER])
def test_the_locks_are_closed_under_dependencies(name: str) -> None:
    """Made in an empty cache: whatever a locked package needs is locked, or the `export` extra's.

    What else lies in the environment that runs the tests is not there for a user.
    """
    folder = environment(name, print)
    lock = ROOT / "export" / "imx500" / f"{name}.lock"
    locked = {str(canonicalize_name(package)) for package in locked_versions(lock)}
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
