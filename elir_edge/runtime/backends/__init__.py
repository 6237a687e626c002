"""Runtimes that execute artifacts, by the name in the manifest."""

from collections.abc import Callable
from pathlib import Path

from elir_edge.errors import BackendError
from elir_edge.runtime.backends.base import Backend
from elir_edge.runtime.backends.litert import LiteRtBackend
from elir_edge.runtime.backends.openvino import OpenVinoBackend
from elir_edge.runtime.backends.ort import OnnxRuntimeBackend
from elir_edge.runtime.backends.tensorrt.backend import TensorRtBackend
from elir_edge.runtime.backends.tensorrt.engine import require_fitting
from elir_edge.runtime.bundle import Bundle

BACKENDS: dict[str, Callable[[Path, int | None], Backend]] = {
    "onnxruntime": OnnxRuntimeBackend,
    "openvino": OpenVinoBackend,
    "litert": LiteRtBackend,
    "trt": TensorRtBackend,
}

FITTING: dict[str, Callable[[Bundle], None]] = {"trt": require_fitting}
"""Checks of whether a bundle was made for this device, by the backends that need one."""


def open_bundle(bundle: Bundle, name: str, threads: int | None) -> Backend:
    """Load a bundle's artifact for a backend.

    Args:
        bundle: that was checked in this backend.
        name: of the backend.
        threads: of the CPU; None: as many as the backend likes.

    Raises:
        UsageError: the bundle was not checked in this backend.
        BundleError: it was made for another device.
        BackendError: see `open_backend`.
    """
    if name in FITTING:
        FITTING[name](bundle)
    return open_backend(name, bundle.artifact_for(name), threads)


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


__all__ = ["BACKENDS", "Backend", "open_backend", "open_bundle"]
