"""A graph in parts computes what it computes whole, and no part holds more than it must."""

import itertools
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import helper

from elir_edge.runtime.backends.ort import OnnxRuntimeBackend
from export.qdq import parts as parts_module
from export.qdq.parts import run_together, running_parts, split
from tests.export.qdq.graphs import graph_of, run


def _graph() -> onnx.ModelProto:
    """Return 1 + image doubled four times, and the image once more at the end."""
    names = ["image", "a", "b", "c", "d"]
    nodes = [helper.make_node("Add", [x, x], [y], name=y) for x, y in itertools.pairwise(names)]
    nodes.append(helper.make_node("Add", ["d", "image"], ["e"], name="e"))
    nodes.append(helper.make_node("Add", ["e", "one"], ["out"], name="out"))
    return graph_of(nodes, (1, 1, 2, 3), "out", {"one": np.ones(1, np.float32)})


_IMAGE = np.arange(6, dtype=np.float32).reshape(1, 1, 2, 3)
_TENSOR = _IMAGE.nbytes
"""Every node of the graph makes a tensor of this size."""


@pytest.mark.parametrize("nodes", [1, 2, 4, 24])
def test_the_same_result(nodes: int) -> None:
    model = _graph()
    seen: dict[str, NDArray[np.float32]] = {}
    with running_parts(split(model, most_bytes=nodes * _TENSOR)) as runner:
        runner.run({"image": _IMAGE}, lambda name, value: seen.update({name: value}))
    assert seen["out"].tolist() == run(model, _IMAGE).tolist() == (17 * _IMAGE + 1).tolist()


def test_parts_pass_on_what_is_still_needed() -> None:
    parts = split(_graph(), most_bytes=2 * _TENSOR)
    assert [part.computed for part in parts] == [("a", "b"), ("c", "d"), ("e", "out")]
    assert [part.inputs for part in parts] == [("image",), ("b",), ("d", "image")]
    assert [part.outputs for part in parts] == [("b",), ("d",), ("out",)]
    # The image is kept to the end, the others go as soon as they are read.
    assert [part.finished for part in parts] == [(), ("b",), ("d", "image", "out")]


def test_watched_tensors_are_shown() -> None:
    seen: dict[str, NDArray[np.float32]] = {}
    with running_parts(split(_graph(), watched={"c"}, most_bytes=4 * _TENSOR)) as runner:
        runner.run({"image": _IMAGE}, lambda name, value: seen.update({name: value}))
    assert set(seen) == {"c", "d", "out"}
    assert seen["c"].tolist() == (8 * _IMAGE).tolist()


def test_what_is_changed_is_what_follows_reads() -> None:
    """On two images; the twin, which changes nothing, is `test_the_same_result`."""

    def change(name: str, values: list[NDArray[np.float32]]) -> None:
        if name == "b":
            for number, value in enumerate(values):
                value += 10 * number

    finished = {}

    def note(name: str, values: list[NDArray[np.float32]]) -> None:
        change(name, values)
        finished[name] = values

    parts = split(_graph(), after={"b"}, most_bytes=24 * _TENSOR)
    assert [part.computed[-1] for part in parts] == ["b", "out"]
    run_together(parts, [{"image": _IMAGE}, {"image": _IMAGE}], note)
    first, second = finished["out"]
    assert first.tolist() == (17 * _IMAGE + 1).tolist()
    assert second.tolist() == (17 * _IMAGE + 41).tolist()


def test_one_part_is_loaded_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """And each once, for all images; no file of it is left."""
    loaded: list[Path] = []
    most: list[int] = []

    class Counted(OnnxRuntimeBackend):
        def __init__(self, path: Path, threads: int | None, *, as_written: bool) -> None:
            super().__init__(path, threads, as_written=as_written)
            assert as_written
            loaded.append(path)
            most.append(len(loaded))

        def close(self) -> None:
            super().close()
            (path,) = loaded
            assert not path.exists()
            loaded.remove(path)

    monkeypatch.setattr(parts_module, "OnnxRuntimeBackend", Counted)
    parts = split(_graph(), most_bytes=2 * _TENSOR)
    feeds = [{"image": _IMAGE}] * 3
    run_together(parts, feeds, lambda name, values: None, as_written=True)
    assert most == [1] * len(parts)
    assert not loaded


def test_constants_go_with_those_that_read_them() -> None:
    parts = split(_graph(), most_bytes=2 * _TENSOR)
    assert [[t.name for t in part.model.graph.initializer] for part in parts] == [[], [], ["one"]]
