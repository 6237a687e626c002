"""Check that a bundle's engine fits this device, and plan the build of one that does."""

from collections.abc import Sequence
from dataclasses import dataclass

from elir_edge.errors import BackendError, BundleError
from elir_edge.runtime.backends.tensorrt.cuda import Cuda, open_cuda
from elir_edge.runtime.backends.tensorrt.sdk import (
    Sdk,
    SerializedEngine,
    build_engine,
    installed_sdks,
    require_sdk,
)
from elir_edge.runtime.backends.tensorrt.support import (
    CURRENT,
    DEFAULT_GPU,
    FULL,
    PRECISIONS,
    RTX,
    require_known,
    require_supported,
)
from elir_edge.runtime.bundle import Bundle
from elir_edge.runtime.manifest import EngineRecord

RUNTIME = "trt"
CACHE_POLICY = (
    "no timing cache; what TensorRT-RTX compiles on the device stays in its cache folder there"
)


@dataclass(frozen=True, kw_only=True)
class EngineBuilder:
    """Builds engines by one TensorRT for one GPU.

    Attributes:
        sdk: the TensorRT that builds.
        gpu: compute capability to build for, e.g. `sm75`.
        here: whether this machine's GPU has that capability, so that the engine can be run.
    """

    sdk: Sdk
    gpu: str
    here: bool

    def build(self, onnx: bytes) -> SerializedEngine:
        """Build an engine from a serialized ONNX graph.

        Raises:
            BackendError: the parser or the builder refuses the graph.
        """
        return build_engine(self.sdk, onnx, CURRENT if self.sdk.kind == FULL else self.gpu)


def gpu_here() -> str | None:
    """Return the compute capability of this machine's GPU; None if there is no CUDA device."""
    try:
        return open_cuda().capability
    except BackendError:
        return None


def choose_builder(
    precision: str, gpu: str | None, here: str | None, sdks: Sequence[Sdk] | None = None
) -> EngineBuilder:
    """Choose the first TensorRT that supports a precision on a GPU and can build for it.

    Args:
        precision: precision of the ONNX graph.
        gpu: compute capability, or `current`; None: that of the RTX 2080 Ti.
        here: compute capability of this machine's GPU; None: there is none.
        sdks: the installed TensorRTs; None: look for them.

    Raises:
        UsageError: the GPU is unknown, or no installed TensorRT supports the precision on it.
        BackendError: TensorRT is not installed, or the GPU is `current` and there is none.
    """
    wanted = gpu or DEFAULT_GPU
    if wanted != here:
        require_known(wanted)
    if wanted == CURRENT:
        if here is None:
            open_cuda()  # raises an error with the reason
            raise BackendError("no CUDA device here", fix="name a GPU, e.g. --gpu sm75")
        wanted = here
    found = installed_sdks() if sdks is None else sdks
    for sdk in found:
        # Full TensorRT builds for the GPU that it runs on, and for no other.
        able = precision in PRECISIONS[sdk.kind].get(wanted, ())
        if able and (sdk.kind == RTX or wanted == here):
            return EngineBuilder(sdk=sdk, gpu=wanted, here=wanted == here)
    require_supported(RTX, wanted, precision)
    require_sdk(RTX, found)
    raise AssertionError("TensorRT-RTX supports this and is installed")


def engine_record(builder: EngineBuilder, source: str, *, ran: bool) -> EngineRecord:
    """Return the manifest's record of an engine.

    Args:
        builder: the builder of the engine.
        source: the bundle's ONNX file that it was built from.
        ran: whether the engine was run.
    """
    return EngineRecord(
        kind=builder.sdk.kind,
        version=builder.sdk.version,
        capability=builder.gpu,
        source=source,
        ran=ran,
        cache=CACHE_POLICY,
    )


def require_fitting(
    bundle: Bundle, *, sdks: Sequence[Sdk] | None = None, cuda: Cuda | None = None
) -> None:
    """Check that a bundle's engine was built for this machine's TensorRT and GPU.

    Args:
        bundle: any bundle; one without an engine passes.
        sdks: the installed TensorRTs; None: look for them.
        cuda: the GPU; None: the first one of this machine.

    Raises:
        BackendError: TensorRT or a GPU is missing.
        BundleError: the engine is for another version or GPU.
    """
    engine = bundle.manifest.target.engine
    if engine is None:
        return
    fix = f"elir-edge build-engine {bundle.folder}"
    sdk = require_sdk(engine.kind, sdks)
    if sdk.version != engine.version:
        raise BundleError(
            f"the engine of {bundle.folder} is for another {engine.kind}",
            got=sdk.version,
            expected=engine.version,
            fix=fix,
        )
    try:
        here = (cuda or open_cuda()).capability
    except BackendError as error:
        raise BackendError(
            f"the engine of {bundle.folder} needs an NVIDIA GPU: {error}, or pass "
            "--runtime onnxruntime, which runs the ONNX that it was built from"
        ) from error
    if here != engine.capability:
        raise BundleError(
            f"the engine of {bundle.folder} is for another GPU",
            got=here,
            expected=engine.capability,
            fix=fix,
        )
