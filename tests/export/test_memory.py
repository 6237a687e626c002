"""Freed memory goes back to the system."""

import ctypes
import sys
from types import SimpleNamespace

import numpy as np
import onnx
import pytest

from export import memory
from export.memory import compacted, give_back_memory


def test_what_glibc_keeps_is_given_back() -> None:
    if not hasattr(ctypes.CDLL(None), "malloc_trim"):
        pytest.skip("needs glibc")
    give_back_memory()  # what others have left
    assert ctypes.CDLL(None).malloc_trim(0) in (0, 1)


@pytest.mark.parametrize("platform", ["linux", "darwin"])
def test_elsewhere_there_is_nothing_to_do(platform: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the function, as in musl, and on other systems, whose libraries are not opened."""

    def opened(name: None) -> SimpleNamespace:
        assert platform == "linux"
        return SimpleNamespace()

    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(memory.ctypes, "CDLL", opened)
    give_back_memory()


def test_all_of_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
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
    copied = compacted(model)
    assert copied.SerializeToString() == model.SerializeToString()
    copied.graph.initializer[0].name = "other"
    assert model.graph.initializer[0].name == "t"
