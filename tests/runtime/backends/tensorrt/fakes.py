"""A TensorRT and a CUDA runtime that keep books instead of computing: the network doubles."""

import ctypes
import types
from enum import IntEnum
from typing import Any

import numpy as np

from elir_edge.runtime.backends.tensorrt.cuda import Cuda
from elir_edge.runtime.backends.tensorrt.sdk import Sdk


class FakeCudart:
    """`cuda.bindings.runtime`, on host memory. While a stream captures, nothing is carried out."""

    cudaError_t = IntEnum(  # noqa: N815
        "cudaError_t", {"cudaSuccess": 0, "cudaErrorNoDevice": 100}
    )
    cudaMemcpyKind = IntEnum(  # noqa: N815
        "cudaMemcpyKind", {"cudaMemcpyHostToDevice": 1, "cudaMemcpyDeviceToHost": 2}
    )
    cudaStreamCaptureMode = IntEnum(  # noqa: N815
        "cudaStreamCaptureMode", {"cudaStreamCaptureModeThreadLocal": 1}
    )
    cudaStreamNonBlocking = 1  # noqa: N815

    def __init__(self, *, major: int = 8, minor: int = 6, devices: int = 1) -> None:
        self.calls: list[str] = []
        self.capturing: list[Any] | None = None
        self.memory: dict[int, Any] = {}
        self._properties = types.SimpleNamespace(major=major, minor=minor, name=b"Fake 3000")
        self._devices = devices

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any) -> tuple[Any, ...]:
            self.calls.append(name)
            return (self.cudaError_t.cudaSuccess, *self._answer(name, arguments))

        return call

    def cudaGetDeviceCount(self) -> tuple[Any, ...]:  # noqa: N802
        if not self._devices:
            return self.cudaError_t.cudaErrorNoDevice, None
        return self.cudaError_t.cudaSuccess, self._devices

    def cudaGetErrorString(self, error: Any) -> tuple[Any, bytes]:  # noqa: N802
        return self.cudaError_t.cudaSuccess, b"no CUDA-capable device is detected"

    def do(self, action: Any) -> None:
        if self.capturing is None:
            action()
        else:
            self.capturing.append(action)

    def _answer(self, name: str, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        if name == "cudaGetDeviceProperties":
            return (self._properties,)
        if name in ("cudaMalloc", "cudaMallocHost"):
            block = ctypes.create_string_buffer(arguments[0])
            self.memory[ctypes.addressof(block)] = block
            return (ctypes.addressof(block),)
        if name in ("cudaFree", "cudaFreeHost"):
            del self.memory[arguments[0]]
        if name == "cudaStreamCreateWithFlags":
            return (7,)
        if name == "cudaMemcpyAsync":
            self.do(lambda: ctypes.memmove(*arguments[:3]))
        if name == "cudaStreamBeginCapture":
            self.capturing = []
        if name == "cudaStreamEndCapture":
            graph, self.capturing = self.capturing, None
            return (graph,)
        if name == "cudaGraphInstantiate":
            return (arguments[0],)
        if name == "cudaGraphLaunch":
            for action in arguments[0]:
                action()
        return ()


class FakeEngine:
    """One input `image`, one output `restored` = 2 x image, float32."""

    num_io_tensors = 2
    shape = (1, 3, 4, 4)

    def __init__(self, cudart: FakeCudart) -> None:
        self._cudart = cudart
        self.addresses: dict[str, int] = {}
        self.cache: bytes = b""

    def get_tensor_name(self, index: int) -> str:
        return ("image", "restored")[index]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return self.shape

    def get_tensor_dtype(self, name: str) -> str:
        return "FLOAT"

    def get_tensor_mode(self, name: str) -> str:
        return {"image": "IN", "restored": "OUT"}[name]

    def create_runtime_config(self) -> "FakeEngine":
        return self

    def create_runtime_cache(self) -> "FakeEngine":
        return self

    def set_runtime_cache(self, cache: Any) -> None:
        assert cache is self

    def serialize(self) -> bytes:
        return b"kernels"

    def deserialize(self, data: bytes) -> None:
        self.cache = data

    def create_execution_context(self, config: Any = None) -> "FakeEngine":
        return self

    def set_tensor_address(self, name: str, address: int) -> None:
        self.addresses[name] = address

    def is_stream_capturable(self, stream: int) -> bool:
        return stream == 7

    def execute_async_v3(self, stream: int) -> bool:
        self._cudart.do(self._double)
        return True

    def _double(self) -> None:
        size = int(np.prod(self.shape))
        kind = ctypes.c_float * size
        given = np.frombuffer(kind.from_address(self.addresses["image"]), np.float32)
        np.frombuffer(kind.from_address(self.addresses["restored"]), np.float32)[:] = 2 * given


def fake_sdk(cudart: FakeCudart, *, kind: str = "tensorrt-rtx", version: str = "1.0") -> Sdk:
    """Return a TensorRT that loads what begins with its kind."""

    class Logger:
        ERROR, INTERNAL_ERROR = "error", "internal"

    class Runtime:
        def __init__(self, logger: Any) -> None:
            self._logger = logger

        def deserialize_cuda_engine(self, plan: bytes) -> FakeEngine | None:
            if plan.startswith(kind.encode()):
                return FakeEngine(cudart)
            self._logger.log("error", "Version tag does not match")
            return None

    module = types.SimpleNamespace(
        ILogger=Logger,
        Runtime=Runtime,
        nptype=lambda dtype: {"FLOAT": np.float32}[dtype],
        TensorIOMode=types.SimpleNamespace(INPUT="IN"),
    )
    return Sdk(kind=kind, version=version, module=module)


def fake_cuda(**properties: int) -> tuple[Cuda, FakeCudart]:
    """Return a GPU and the books it keeps."""
    cudart = FakeCudart(**properties)
    return Cuda(cudart), cudart
