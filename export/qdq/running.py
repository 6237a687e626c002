"""Graphs that have no file yet, in a runtime."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import onnx

from elir_edge.runtime.backends import Backend, open_backend
from elir_edge.runtime.backends.ort import OnnxRuntimeBackend
from export.calibration.timing import Run

STOOD_IN_FOR = ("trt",)
"""Runtimes that need a GPU. ONNX Runtime stands in for them: it computes a Q/DQ graph in floats as
it is written, which is what sums of int8 products come to in any runtime."""


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
        backend: Backend
        if as_written or runtime in STOOD_IN_FOR:
            backend = OnnxRuntimeBackend(path, threads, as_written=True)
        else:
            backend = open_backend(runtime, path, threads)
        with backend:
            yield backend.run
