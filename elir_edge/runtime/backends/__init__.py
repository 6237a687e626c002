"""Runtimes that execute artifacts, by the name in the manifest."""

from collections.abc import Callable
from pathlib import Path

from elir_edge.errors import BackendError
from elir_edge.runtime.backends.base import Backend
from elir_edge.runtime.backends.litert import LiteRtBackend
from elir_edge.runtime.backends.openvino import OpenVinoBackend
from elir_edge.runtime.backends.ort import OnnxRuntimeBackend
from elir_edge.runtime.backends.trt import TensorRtBackend

BACKENDS: dict[str, Callable[[Path, int | None], Backend]] = {
    "onnxruntime": OnnxRuntimeBackend,
    "openvino": OpenVinoBackend,
    "litert": LiteRtBackend,
    "trt": TensorRtBackend,
}


def open_backend(name: str, artifact: Path, threads: int | None) -> Backend:
    """Load an artifact.

    Raises:
        BackendError: this version knows no such backend, its package is missing, or it refuses the
            artifact.
    """
    if name not in BACKENDS:
        raise BackendError(
            f"unknown backend {name!r}",
            expected=f"one of {', '.join(BACKENDS)}",
            fix="install a newer elir-edge",
        )
    return BACKENDS[name](artifact, threads)


__all__ = ["BACKENDS", "Backend", "open_backend"]
