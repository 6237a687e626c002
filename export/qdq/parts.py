"""Graphs split into parts that run in sequence, with only the needed tensors in memory.

ONNX Runtime keeps all outputs of a graph in memory. With every tensor of a model of published size
as an output, it takes 12 GB; with one tensor at a time, the graph is computed once for each tensor.
In parts, each node is computed once, and a tensor can be changed before the next part reads it.
"""

import contextlib
import math
import tempfile
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
from numpy.typing import NDArray
from onnx import helper

from elir_edge.runtime.backends.ort import OnnxRuntimeBackend
from export.calibration.timing import Feed
from export.onnx_graph.shapes import tensor_types
from export.reporting import SILENT, Report

Tensors = Mapping[str, NDArray[Any]]
_MOST_BYTES = 256 * 2**20


@dataclass(frozen=True, kw_only=True)
class Part:
    """Consecutive nodes of a graph.

    Attributes:
        model: a graph of these nodes; it has the outputs `outputs`, and may have more.
        inputs: tensors that it reads from earlier parts or from the whole graph's inputs.
        outputs: tensors that it computes and that later parts read, that are outputs of the whole
            graph, or that are watched (see `split`).
        computed: all tensors that it computes.
        finished: inputs and outputs that no later part reads.
    """

    model: onnx.ModelProto
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    computed: tuple[str, ...]
    finished: tuple[str, ...]


def split(
    model: onnx.ModelProto,
    *,
    after: Container[str] = (),
    watched: Container[str] = (),
    most_bytes: int = _MOST_BYTES,
) -> list[Part]:
    """Split a graph into parts.

    Args:
        model: a graph with fixed shapes and nodes in topological order.
        after: tensors after which a part ends, so that they can be changed.
        watched: tensors that become outputs of the part that computes them.
        most_bytes: the largest size of the tensors that a part computes, unless a single node
            computes more. Large parts are faster, since ONNX Runtime optimizes within a part; small
            parts take less memory.
    """
    types = tensor_types(model)
    groups: list[list[onnx.NodeProto]] = [[]]
    size = 0
    for node in model.graph.node:
        computed_bytes = sum(_bytes_of(*types[name]) for name in node.output if name)
        if groups[-1] and size + computed_bytes > most_bytes:
            groups.append([])
            size = 0
        groups[-1].append(node)
        size += computed_bytes
        if any(name in after for name in node.output):
            groups.append([])
            size = 0
    groups = [group for group in groups if group]
    kept = {output.name for output in model.graph.output}
    last_read = {name: i for i, group in enumerate(groups) for node in group for name in node.input}
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    parts = []
    for i, group in enumerate(groups):
        computed = [name for node in group for name in node.output if name]
        read = dict.fromkeys(name for node in group for name in node.input if name)
        inputs = [name for name in read if name not in computed and name not in weights]
        outputs = [
            name
            for name in computed
            if last_read.get(name, i) > i or name in kept or name in watched
        ]
        graph = helper.make_graph(
            group,
            f"part{i}",
            [helper.make_tensor_value_info(name, *types[name]) for name in inputs],
            [helper.make_tensor_value_info(name, *types[name]) for name in outputs],
            [weights[name] for name in read if name in weights],
        )
        parts.append(
            Part(
                model=helper.make_model(
                    graph, opset_imports=model.opset_import, ir_version=model.ir_version
                ),
                inputs=tuple(inputs),
                outputs=tuple(outputs),
                computed=tuple(computed),
                finished=tuple(n for n in (*inputs, *outputs) if last_read.get(n, i) <= i),
            )
        )
    return parts


def _bytes_of(kind: int, shape: Sequence[int]) -> int:
    return int(onnx.helper.tensor_dtype_to_np_dtype(kind).itemsize) * math.prod(shape)


class PartRunner:
    """Runs the parts of a graph.

    Args:
        parts: all parts of one graph, in order.
        backends: the backend of each part.
    """

    def __init__(self, parts: Sequence[Part], backends: Sequence[OnnxRuntimeBackend]) -> None:
        self._parts, self._backends = parts, backends

    def run(self, feed: Feed, visit: Callable[[str, NDArray[Any]], None]) -> None:
        """Run all parts on one feed.

        Args:
            feed: the whole graph's inputs, by name.
            visit: called with the name and value of every output of each part.
        """
        values = dict(feed)
        for part, backend in zip(self._parts, self._backends, strict=True):
            results = backend.run({name: values[name] for name in part.inputs})
            for name, value in results.items():
                visit(name, value)
            _move_on(values, part, results)


def run_together(
    parts: Sequence[Part],
    feeds: Iterable[Feed],
    change: Callable[[str, list[NDArray[Any]]], None],
    report: Report = SILENT,
    text: str = "correcting biases",
    *,
    as_written: bool = False,
) -> None:
    """Run each part on all feeds before the next part.

    A part is loaded when its turn comes and released after it, since ONNX Runtime keeps the memory
    of a part's tensors as long as it is loaded.

    Args:
        parts: all parts of one graph, in order.
        feeds: the whole graph's inputs. Needed tensors of all feeds are in memory at once.
        change: called with an output's name and its values on all feeds, which it may change
            in place before the next part reads them.
        report: receives the progress.
        text: the text of the progress.
        as_written: see `running`.

    Raises:
        BackendError: ONNX Runtime does not support a part.
    """
    values = [dict(feed) for feed in feeds]
    for part in report.each(text, parts):
        _run_part(part, values, change, as_written=as_written)


def _run_part(
    part: Part,
    values: Sequence[dict[str, NDArray[Any]]],
    change: Callable[[str, list[NDArray[Any]]], None],
    *,
    as_written: bool,
) -> None:
    """Run a part on all feeds; what no later part reads is released at the end."""
    with _load_part(part, as_written=as_written) as backend:
        results = [backend.run({n: each[n] for n in part.inputs}) for each in values]
    for name in part.outputs:
        change(name, [each[name] for each in results])
    for each, result in zip(values, results, strict=True):
        _move_on(each, part, result)


def _move_on(values: dict[str, NDArray[Any]], part: Part, results: Tensors) -> None:
    values.update({name: results[name] for name in part.outputs})
    for name in part.finished:
        values.pop(name, None)


def _load_part(part: Part, *, as_written: bool = False) -> OnnxRuntimeBackend:
    """Return a part in ONNX Runtime, through a file that is deleted at once."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "part.onnx"
        onnx.save(part.model, path)
        return OnnxRuntimeBackend(path, None, as_written=as_written)


@contextlib.contextmanager
def running_parts(parts: Sequence[Part]) -> Iterator[PartRunner]:
    """Load parts in ONNX Runtime and yield their runner.

    Args:
        parts: all parts of one graph, in order.

    Raises:
        BackendError: ONNX Runtime does not support a part.
    """
    with contextlib.ExitStack() as stack:
        yield PartRunner(parts, [stack.enter_context(_load_part(part)) for part in parts])
