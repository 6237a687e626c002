"""Rules of the house that the source itself shows; nothing is imported."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[1]
_SOURCES = sorted(p for name in ("elir_edge", "export") for p in (_ROOT / name).rglob("*.py"))
_GROWING = {"export/static/equalize.py:_Trunk"}
"""Dataclasses that a walk over a graph fills."""


def _dataclasses(tree: ast.Module) -> Iterator[tuple[str, set[str]]]:
    """Yield the name of each dataclass, and its decorator's options that are true."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.ClassDef):
            continue
        for decorator in node.decorator_list:
            call = decorator if isinstance(decorator, ast.Call) else None
            name = call.func if call else decorator
            if isinstance(name, ast.Name) and name.id == "dataclass":
                options = call.keywords if call else []
                true = {
                    option.arg
                    for option in options
                    if option.arg and isinstance(option.value, ast.Constant) and option.value.value
                }
                yield node.name, true


@pytest.mark.parametrize("path", _SOURCES, ids=lambda p: p.relative_to(_ROOT).as_posix())
def test_dataclasses_are_frozen_and_take_names(path: Path) -> None:
    for name, options in _dataclasses(ast.parse(path.read_text(encoding="utf-8"))):
        place = f"{path.relative_to(_ROOT).as_posix()}:{name}"
        if place not in _GROWING:
            assert options >= {"kw_only", "frozen"}, place


def test_the_rule_would_notice() -> None:
    source = (
        "@dataclass(frozen=False, kw_only=True)\nclass A:\n    x: int\n@dataclass\nclass B: ..."
    )
    assert list(_dataclasses(ast.parse(source))) == [("A", {"kw_only"}), ("B", set())]
