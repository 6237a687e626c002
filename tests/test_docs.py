"""README and docs: links lead somewhere, commands can be typed as they stand, code runs."""

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image
from typer.core import TyperCommand, TyperGroup
from typer.exceptions import TyperException

import elir_edge.runtime
from elir_edge.cli.app import app as elir_edge_app
from export.cli import app as export_app
from tests.export.readme import blocks

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "benchmarks" / "README.md", *sorted(ROOT.glob("docs/*.md"))]
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_BLOCKS = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def _lines(start: str) -> Iterator[tuple[str, str]]:
    """Yield (page, command) for the commands of all pages that begin so, comments cut off."""
    for page in PAGES:
        for block in blocks(page, "sh"):
            for line in re.sub(r"\\\n\s*", " ", block).splitlines():
                words = shlex.split(line, comments=True)
                if words and words[: len(start.split())] == start.split():
                    yield page.name, shlex.join(words)


def _all(*starts: str) -> list[tuple[str, str]]:
    return sorted({line for start in starts for line in _lines(start)})


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = _BLOCKS.sub("", page.read_text(encoding="utf-8"))
    for link in _LINK.findall(text):
        if link.startswith(("http://", "https://")):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), link
        if anchor:
            headings = _HEADING.findall(target.read_text(encoding="utf-8"))
            assert anchor in map(_anchor, headings), link


@pytest.mark.parametrize(("page", "command"), _all("make"))
def test_make_takes_what_is_shown(page: str, command: str) -> None:
    done = subprocess.run(
        ["make", "--dry-run", *shlex.split(command)[1:]],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("page", "command"), _all("elir-edge", ".venv/bin/elir-edge"))
def test_elir_edge_takes_what_is_shown(page: str, command: str) -> None:
    _parse(typer.main.get_command(elir_edge_app), shlex.split(command)[1:])


@pytest.mark.parametrize(("page", "command"), _all(".venv/bin/python -m export"))
def test_the_export_takes_what_is_shown(page: str, command: str) -> None:
    _parse(typer.main.get_command(export_app), shlex.split(command)[3:])


def _parse(command: TyperCommand | TyperGroup, words: list[str]) -> None:
    """Parse a command line without running it.

    Raises:
        TyperException: an option or argument that the command does not have.
    """
    context = command.make_context("command", list(words))
    if isinstance(command, TyperGroup):
        name, inner, rest = command.resolve_command(context, words)
        assert name is not None
        assert inner is not None
        inner.make_context(name, list(rest), parent=context)


def test_a_command_that_is_none_is_noticed() -> None:
    """The twin of the three tests above."""
    for words in (["restor", "a.png"], ["restore", "a.png", "b.png", "--bundel", "c"]):
        with pytest.raises(TyperException):
            _parse(typer.main.get_command(elir_edge_app), words)
    done = subprocess.run(
        ["make", "--dry-run", "export", "TARGT=onnx"], cwd=ROOT, capture_output=True, check=False
    )
    assert done.returncode != 0


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_python_runs_as_it_stands(
    page: Path, tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a tiny model in the place of the shipped one."""
    found = blocks(page, "python")
    if not found:
        pytest.skip("no code on this page")
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8))
    for name in ("photo.jpg", "portrait.png", "mask.png"):
        photo.save(tmp_path / name)
    bundle = tmp_path / "dist" / "denoising-nano-onnx-fp32"
    bundle.parent.mkdir()
    bundle.symlink_to(tiny_bundle, target_is_directory=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(elir_edge.runtime, "ready_bundle", lambda task: bundle)
    for code in found:
        exec(compile(code, str(page), "exec"), {})


def test_the_readme_is_short() -> None:
    assert len(PAGES[0].read_text(encoding="utf-8").split()) <= 800
