"""Memory that is no longer needed goes back to the system."""

import gc
import sys
import weakref
from types import SimpleNamespace

import numpy as np
import onnx
import pytest

from export import memory
from export.memory import compact, give_back_memory


class _Cycle:
    """An object that refers to itself."""

    def __init__(self) -> None:
        self.own = self


def test_cycles_are_collected() -> None:
    gc.disable()
    try:
        cycle = weakref.ref(_Cycle())
        assert cycle() is not None
        give_back_memory()
        assert cycle() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("platform", ["linux", "darwin"])
def test_systems_without_glibc_are_left_alone(
    platform: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the function, as in musl, and on other systems, whose libraries are not opened."""

    def opened(name: None) -> SimpleNamespace:
        assert platform == "linux"
        return SimpleNamespace()

    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(memory.ctypes, "CDLL", opened)
    give_back_memory()


def test_the_whole_heap_is_trimmed(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[int] = []
    monkeypatch.setattr(sys, "platform", "linux")
    library = SimpleNamespace(malloc_trim=kept.append)
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: library)
    give_back_memory()
    assert kept == [0]


def test_a_compacted_graph_is_the_same() -> None:
    """Byte for byte, and another object: changes of one do not reach the other."""
    tensor = onnx.numpy_helper.from_array(np.arange(4, dtype=np.float32), "t")
    model = onnx.helper.make_model(onnx.helper.make_graph([], "g", [], [], [tensor]))
    copied = compact(model)
    assert copied.SerializeToString() == model.SerializeToString()
    copied.graph.initializer[0].name = "other"
    assert model.graph.initializer[0].name == "t"
