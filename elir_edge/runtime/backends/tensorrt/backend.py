"""Run TensorRT engines: one CUDA graph contains the upload, the network and the download."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elir_edge.errors import BackendError
from elir_edge.files import cache_folder, replacing_file
from elir_edge.runtime.backends.base import Backend, require_signature
from elir_edge.runtime.backends.tensorrt.cuda import Cuda, open_cuda
from elir_edge.runtime.backends.tensorrt.sdk import (
    Sdk,
    errors_of,
    installed_sdks,
    make_logger,
    require_sdk,
)


@dataclass(frozen=True, kw_only=True)
class _Buffer:
    """Memory of an input or output, page-locked on the host and on the GPU.

    Attributes:
        name: name of the tensor.
        host: array over the page-locked memory.
        pinned: address of the page-locked memory.
        device: address of the memory on the GPU.
        is_input: whether the tensor is an input.
    """

    name: str
    host: NDArray[Any]
    pinned: int
    device: int
    is_input: bool


class TensorRtBackend(Backend):
    """An engine on the first GPU.

    Args:
        artifact: a serialized engine.
        threads: not used.
        sdks: the installed TensorRTs to try, in this order; None: look for them.
        cuda: the GPU; None: the first one of this machine.

    Raises:
        BackendError: TensorRT or a GPU is missing, or TensorRT refuses the engine.
    """

    def __init__(
        self,
        artifact: Path,
        threads: int | None,
        *,
        sdks: Sequence[Sdk] | None = None,
        cuda: Cuda | None = None,
    ) -> None:
        sdks = installed_sdks() if sdks is None else sdks
        require_sdk(installed=sdks)
        self._cuda = cuda or open_cuda()
        plan = artifact.read_bytes()
        self._engine, self._logger, sdk = _load(plan, artifact.name, sdks)
        self._version = f"{sdk.kind} {sdk.version} on {self._cuda.name}"
        self._cache = _RuntimeCache(self._engine, plan, sdk)
        self._context = self._cache.make_context()
        self._stream = self._cuda.make_stream()
        self._buffers = [self._bind(sdk, i) for i in range(self._engine.num_io_tensors)]
        self._graph: Any = None
        self._warm_up()

    @property
    def version(self) -> str:
        """Return the name and version of the runtime, and the name of the GPU."""
        return self._version

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run the engine once; see `Backend.run`."""
        wanted = {b.name: (b.host.shape, b.host.dtype.name) for b in self._buffers if b.is_input}
        require_signature(self._version, inputs, wanted)
        for buffer in self._buffers:
            if buffer.is_input:
                np.copyto(buffer.host, inputs[buffer.name])
        if self._graph is None:
            self._queue()
        else:
            self._cuda.launch(self._graph, self._stream)
        self._cuda.synchronize(self._stream)
        return {b.name: b.host.copy() for b in self._buffers if not b.is_input}

    def close(self) -> None:
        """Release the memory; the backend cannot be used afterwards."""
        for buffer in self._buffers:
            self._cuda.free(buffer.pinned, buffer.device)
        self._cuda.release(self._graph, self._stream)
        self._buffers = []

    def _bind(self, sdk: Sdk, index: int) -> _Buffer:
        name = self._engine.get_tensor_name(index)
        shape = tuple(int(n) for n in self._engine.get_tensor_shape(name))
        dtype = np.dtype(sdk.module.nptype(self._engine.get_tensor_dtype(name)))
        pinned, host = self._cuda.pinned(shape, dtype)
        device = self._cuda.device_memory(host.nbytes)
        is_input = self._engine.get_tensor_mode(name) == sdk.module.TensorIOMode.INPUT
        self._context.set_tensor_address(name, device)
        return _Buffer(name=name, host=host, pinned=pinned, device=device, is_input=is_input)

    def _warm_up(self) -> None:
        """Run once without a CUDA graph, which compiles kernels, then capture the graph."""
        for buffer in self._buffers:
            buffer.host[...] = 0
        self._queue()
        self._cuda.synchronize(self._stream)
        self._cache.save()
        # Full TensorRT cannot tell; nothing in ELIR's graphs prevents a capture.
        capturable = getattr(self._context, "is_stream_capturable", lambda stream: True)
        if capturable(int(self._stream)):
            self._graph = self._cuda.capture(self._queue, self._stream)

    def _queue(self) -> None:
        for b in self._buffers:
            if b.is_input:
                self._cuda.upload(b.device, b.pinned, b.host.nbytes, self._stream)
        if not self._context.execute_async_v3(int(self._stream)):
            raise BackendError(f"{self._version} did not run the engine")
        for b in self._buffers:
            if not b.is_input:
                self._cuda.download(b.pinned, b.device, b.host.nbytes, self._stream)


class _RuntimeCache:
    """The kernels that TensorRT-RTX compiles when an engine first runs, kept for later runs.

    They are kept in `$ELIR_EDGE_CACHE`, by default `~/.cache/elir-edge`, not in the bundle, because
    they only fit one device and its driver. Full TensorRT has no such cache.
    """

    def __init__(self, engine: Any, plan: bytes, sdk: Sdk) -> None:
        self._engine = engine
        name = f"{hashlib.sha256(plan).hexdigest()[:24]}-{sdk.version}.cache"
        self._path = cache_folder("tensorrt") / name
        self._cache: Any = None

    def make_context(self) -> Any:
        """Return an execution context, which uses the cache if TensorRT supports one."""
        config = self._engine.create_runtime_config()
        if not hasattr(config, "create_runtime_cache"):
            return self._engine.create_execution_context()
        self._cache = config.create_runtime_cache()
        if self._path.exists():
            self._cache.deserialize(self._path.read_bytes())
        config.set_runtime_cache(self._cache)
        return self._engine.create_execution_context(config)

    def save(self) -> None:
        """Write the cache to its file, unless the file exists."""
        if self._cache is not None and not self._path.exists():
            with replacing_file(self._path) as temporary:
                temporary.write_bytes(bytes(self._cache.serialize()))


def _load(plan: bytes, name: str, sdks: Sequence[Sdk]) -> tuple[Any, Any, Sdk]:
    """Return the engine, the logger that must outlive it, and the TensorRT that loaded it."""
    refusals = []
    for sdk in sdks:
        logger = make_logger(sdk)
        engine = sdk.module.Runtime(logger).deserialize_cuda_engine(plan)
        if engine is not None:
            return engine, logger, sdk
        refusals.append(f"{sdk.kind} {sdk.version}: {errors_of(sdk, logger)}")
    raise BackendError(
        f"TensorRT refuses {name}",
        got="; ".join(refusals),
        fix="build it for this device: elir-edge build-engine BUNDLE",
    )
