"""Graphs that have no file yet, in a runtime."""

import contextlib
import copy
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx
from numpy.typing import NDArray

from elir_edge.runtime.backends import open_backend
from elir_edge.runtime.backends.ort import OnnxRuntimeBackend

Feed = Mapping[str, NDArray[Any]]
Run = Callable[[Feed], Mapping[str, NDArray[Any]]]
"""Inputs by name to outputs by name."""
STOOD_IN_FOR = ("trt",)
"""Runtimes that need a GPU. ONNX Runtime stands in for them: it computes a Q/DQ graph in floats as
it is written, which is what sums of int8 products come to in any runtime."""

TURN = 3
"""Runs of a graph without a change to another: so many untimed, then so many timed."""


@contextlib.contextmanager
def running(
    model: onnx.ModelProto,
    runtime: str = "onnxruntime",
    threads: int | None = None,
    *,
    as_written: bool = False,
) -> Iterator[Run]:
    """Yield what runs a graph in a runtime; threads None: as many as it likes.

    Args:
        model: the graph.
        runtime: its name.
        threads: of the CPU.
        as_written: in ONNX Runtime, whatever the runtime, Q and DQ being functions like others.

    Raises:
        BackendError: the runtime is missing or refuses the graph.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        onnx.save(model, path)
        if as_written or runtime in STOOD_IN_FOR:
            yield OnnxRuntimeBackend(path, threads, as_written=True).run
        else:
            yield open_backend(runtime, path, threads).run


@contextlib.contextmanager
def watching(model: onnx.ModelProto, tensors: Sequence[str]) -> Iterator[Run]:
    """Yield what runs a graph and returns these tensors of it, inputs among them.

    Q/DQ graphs are computed as they are written: fused into integers, a tensor between a
    convolution and its pair is there no more.
    """
    produced = {output for node in model.graph.node for output in node.output}
    outputs = [name for name in tensors if name in produced]
    if not outputs:
        yield lambda feed: feed
        return
    probed = copy.deepcopy(model)
    del probed.graph.output[:]
    probed.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in outputs)
    with running(probed, as_written=True) as run:
        yield lambda feed: {**feed, **run(feed)}


def time_in_turns(runs: Sequence[Run], feed: Feed, *, rounds: int) -> list[list[float]]:
    """Return the milliseconds of each, `TURN` times in each of the rounds.

    In turns, so that whatever else the machine does falls on all alike; a turn begins untimed,
    because the one before leaves cold caches and threads that wait for more work and take a core:
    without it, a graph of 6 ms took 10, and one of 15 ms took 27.
    """
    times: list[list[float]] = [[] for _ in runs]
    for _ in range(rounds):
        for run, collected in zip(runs, times, strict=True):
            for _ in range(TURN):
                run(feed)
            for _ in range(TURN):
                started = time.perf_counter()
                run(feed)
                collected.append(1000 * (time.perf_counter() - started))
    return times
