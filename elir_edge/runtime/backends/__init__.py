"""The registry of backends, by the names that manifests use."""

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
"""Checks that a bundle was made for this device, by the name of the backend that needs one."""


def open_bundle(bundle: Bundle, name: str, threads: int | None) -> Backend:
    """Load a bundle's artifact in a backend.

    Args:
        bundle: a bundle that was checked in this backend.
        name: name of the backend.
        threads: CPU threads; None: the backend's default.

    Raises:
        UsageError: the bundle was not checked in this backend.
        BundleError: the bundle was made for another device.
        BackendError: see `open_backend`.
    """
    if name in FITTING:
        FITTING[name](bundle)
    return open_backend(name, bundle.artifact_for(name), threads)


def open_backend(name: str, artifact: Path, threads: int | None) -> Backend:
    """Load an artifact in a backend.

    Args:
        name: name of the backend.
        artifact: the model file.
        threads: CPU threads; None: the backend's default.

    Raises:
        BackendError: the backend is unknown, its package is missing, or it refuses the artifact.
    """
    if name not in BACKENDS:
        raise BackendError(
            f"unknown backend {name!r}",
            expected=f"one of {', '.join(BACKENDS)}",
            fix="install a newer elir-edge",
        )
    return BACKENDS[name](artifact, threads)


__all__ = ["BACKENDS", "Backend", "open_backend", "open_bundle"]
