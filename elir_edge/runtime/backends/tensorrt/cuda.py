"""CUDA's runtime API; the only file that imports cuda-python.

An application that runs engines needs streams, graphs and pinned memory. cuda-python provides them
in a few megabytes, torch in several gigabytes.
"""

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elir_edge.errors import BackendError


class Cuda:
    """The first GPU of this machine.

    Args:
        api: the module `cuda.bindings.runtime`.

    Raises:
        BackendError: there is no CUDA device.
    """

    def __init__(self, api: Any) -> None:
        self._api = api
        error, count = api.cudaGetDeviceCount()
        if error != api.cudaError_t.cudaSuccess or not count:
            reason = self._text(error) if count is None or error else "none is listed"
            raise BackendError(
                f"no CUDA device here ({reason})",
                fix="run it on a machine with an NVIDIA GPU and its driver",
            )
        properties = self._call("cudaGetDeviceProperties", 0)
        self.capability = f"sm{properties.major}{properties.minor}"
        name = properties.name
        self.name = name.decode().rstrip("\0") if isinstance(name, bytes) else str(name)

    def make_stream(self) -> Any:
        """Return a stream that does not wait for other streams."""
        return self._call("cudaStreamCreateWithFlags", self._api.cudaStreamNonBlocking)

    def pinned(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> tuple[int, NDArray[Any]]:
        """Allocate page-locked memory; return its address and an array over it."""
        num_bytes = int(np.prod(shape)) * dtype.itemsize
        address = int(self._call("cudaMallocHost", num_bytes))
        block = (ctypes.c_byte * num_bytes).from_address(address)
        return address, np.frombuffer(memoryview(block), dtype).reshape(shape)

    def device_memory(self, num_bytes: int) -> int:
        """Allocate memory on the GPU and return its address."""
        return int(self._call("cudaMalloc", num_bytes))

    def free(self, pinned: int, device: int) -> None:
        """Free page-locked memory and memory on the GPU, by their addresses."""
        self._call("cudaFreeHost", pinned)
        self._call("cudaFree", device)

    def upload(self, device: int, host: int, num_bytes: int, stream: Any) -> None:
        """Queue a copy from page-locked memory to the GPU."""
        kind = self._api.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._call("cudaMemcpyAsync", device, host, num_bytes, kind, stream)

    def download(self, host: int, device: int, num_bytes: int, stream: Any) -> None:
        """Queue a copy from the GPU to page-locked memory."""
        kind = self._api.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._call("cudaMemcpyAsync", host, device, num_bytes, kind, stream)

    def synchronize(self, stream: Any) -> None:
        """Wait until everything queued on the stream is finished."""
        self._call("cudaStreamSynchronize", stream)

    def capture(self, queue: Callable[[], None], stream: Any) -> Any:
        """Return an executable CUDA graph of the operations that `queue` queues on the stream."""
        mode = self._api.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._call("cudaStreamBeginCapture", stream, mode)
        try:
            queue()
        finally:
            graph = self._call("cudaStreamEndCapture", stream)
        executable = self._call("cudaGraphInstantiate", graph, 0)
        self._call("cudaGraphDestroy", graph)
        return executable

    def launch(self, graph: Any, stream: Any) -> None:
        """Queue a captured graph."""
        self._call("cudaGraphLaunch", graph, stream)

    def release(self, graph: Any, stream: Any) -> None:
        """Release a graph, if it is not None, and a stream."""
        if graph is not None:
            self._call("cudaGraphExecDestroy", graph)
        self._call("cudaStreamDestroy", stream)

    def _call(self, name: str, *arguments: Any) -> Any:
        error, *results = getattr(self._api, name)(*arguments)
        if error != self._api.cudaError_t.cudaSuccess:
            raise BackendError(f"{name} failed", got=self._text(error))
        return results[0] if results else None

    def _text(self, error: Any) -> str:
        _, text = self._api.cudaGetErrorString(error)
        return text.decode() if isinstance(text, bytes) else str(text)


def open_cuda() -> Cuda:
    """Return the first GPU.

    Raises:
        BackendError: cuda-python is not installed, or there is no CUDA device.
    """
    try:
        from cuda.bindings import runtime
    except ImportError as error:
        raise BackendError(
            "cuda-python is not installed", fix="pip install cuda-bindings"
        ) from error
    return Cuda(runtime)
