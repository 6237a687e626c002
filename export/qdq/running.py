"""Runs in-memory graphs in any runtime, through temporary files."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import onnx

from elir_edge.runtime.backends import Backend, open_backend
from elir_edge.runtime.backends.ort import OnnxRuntimeBackend
from export.calibration.timing import ModelRunner

EMULATED_RUNTIMES = ("trt",)
"""Runtimes that need a GPU and are replaced by ONNX Runtime here.

It computes a Q/DQ graph in floats as it is written, which equals the sums of int8 products of any
runtime up to rounding.
"""


@contextlib.contextmanager
def running(
    model: onnx.ModelProto,
    runtime: str = "onnxruntime",
    threads: int | None = None,
    *,
    as_written: bool = False,
) -> Iterator[ModelRunner]:
    """Yield a function that runs a graph in a runtime.

    Args:
        model: the graph.
        runtime: name of the runtime.
        threads: number of CPU threads; None: the runtime's default.
        as_written: run in ONNX Runtime whatever `runtime` is, and compute Q and DQ like other
            operators instead of fusing them into integer ones.

    Raises:
        BackendError: the runtime is missing or does not support the graph.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        onnx.save(model, path)
        backend: Backend
        if as_written or runtime in EMULATED_RUNTIMES:
            backend = OnnxRuntimeBackend(path, threads, as_written=True)
        else:
            backend = open_backend(runtime, path, threads)
        with backend:
            yield backend.run
