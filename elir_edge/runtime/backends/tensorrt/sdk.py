"""TensorRT's Python API; the only file that imports it.

`tensorrt_rtx` and `tensorrt` have the same API as far as it is used here. Networks are strongly
typed: precision comes from the ONNX graph alone, so one code path serves every precision and both.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from elir_edge.errors import BackendError
from elir_edge.runtime.backends.tensorrt.support import CURRENT, FULL, RTX

_CONVOLUTIONS = ("correlation", "conv", "Convolution", "CaskConvolution")


@dataclass(frozen=True, kw_only=True)
class Sdk:
    """An installed TensorRT.

    Attributes:
        kind: `tensorrt-rtx` or `tensorrt`.
        version: its exact version.
        module: its Python module.
    """

    kind: str
    version: str
    module: Any


@dataclass(frozen=True, kw_only=True)
class SerializedEngine:
    """A serialized engine.

    Attributes:
        plan: the engine's bytes.
        num_layers: number of layers after fusion; 0 if the builder's log does not list them.
        convolutions: number of convolutions by the types of input and output, e.g. `Int8 -> Float`.
    """

    plan: bytes
    num_layers: int
    convolutions: dict[str, int]


def installed_sdks() -> list[Sdk]:
    """Return the installed TensorRTs, TensorRT-RTX first."""
    found = []
    for kind in (RTX, FULL):
        try:
            module = _import(kind)
        except ImportError:
            continue  # one of the two is enough
        found.append(Sdk(kind=kind, version=str(module.__version__), module=module))
    return found


def _import(kind: str) -> Any:
    if kind == RTX:
        import tensorrt_rtx

        return tensorrt_rtx
    import tensorrt

    return tensorrt


def require_sdk(kind: str | None = None, installed: Sequence[Sdk] | None = None) -> Sdk:
    """Return the first installed TensorRT.

    Args:
        kind: `tensorrt-rtx` or `tensorrt`; None: either.
        installed: the installed TensorRTs; None: look for them.

    Raises:
        BackendError: no TensorRT of this kind is installed.
    """
    found = installed_sdks() if installed is None else installed
    for sdk in found:
        if kind in (None, sdk.kind):
            return sdk
    fix = "install TensorRT from the vendor" if kind == FULL else "pip install tensorrt-rtx"
    raise BackendError(f"{kind or 'TensorRT'} is not installed", fix=fix)


def make_logger(sdk: Sdk) -> Any:
    """Return a logger that keeps `(severity, text)` in `lines` and prints nothing."""
    base: Any = sdk.module.ILogger

    class Logger(base):  # type: ignore[misc]  # the base is only known at run time
        def __init__(self) -> None:
            super().__init__()
            self.lines: list[tuple[Any, str]] = []

        def log(self, severity: Any, text: str) -> None:
            self.lines.append((severity, text))

    return Logger()


def errors_of(sdk: Sdk, logger: Any) -> str:
    """Return the first two distinct errors of a log in one line."""
    severities = (sdk.module.ILogger.ERROR, sdk.module.ILogger.INTERNAL_ERROR)
    texts = [" ".join(text.split()) for severity, text in logger.lines if severity in severities]
    return "; ".join(dict.fromkeys(texts[:2])) or "it gives no reason"


def build_engine(sdk: Sdk, onnx: bytes, gpu: str) -> SerializedEngine:
    """Build an engine from an ONNX graph.

    Args:
        sdk: the TensorRT that builds it.
        onnx: the serialized graph, whose types determine the precision.
        gpu: compute capability to build for, or `current`.

    Raises:
        BackendError: the parser or the builder refuses the graph.
    """
    trt, logger = sdk.module, make_logger(sdk)
    builder = trt.Builder(logger)
    if builder is None:  # full TensorRT has no builder without a GPU
        raise BackendError(f"{sdk.kind} {sdk.version} builds only on a GPU", fix="run it there")
    typed = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = builder.create_network(typed)
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(onnx):
        faults = [parser.get_error(i) for i in range(parser.num_errors)]
        raise BackendError(
            f"{sdk.kind} {sdk.version} cannot read the ONNX graph",
            got="; ".join(f"{f.node_name()}: {' '.join(f.desc().split())}" for f in faults),
            fix="export with the target's own rewrites (leave out --rewrites)",
        )
    config = builder.create_builder_config()
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if sdk.kind == RTX:
        config.num_compute_capabilities = 1
        name = "CURRENT" if gpu == CURRENT else gpu.upper()
        config.set_compute_capability(getattr(trt.ComputeCapability, name), 0)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise BackendError(
            f"{sdk.kind} {sdk.version} cannot build an engine for {gpu}", got=errors_of(sdk, logger)
        )
    log_lines = [line for _, text in logger.lines for line in text.splitlines()]
    layers = [line for line in log_lines if re.match(r"Name: .*LayerType: ", line)]
    return SerializedEngine(plan=bytes(plan), num_layers=len(layers), convolutions=_types(layers))


def _types(layers: Sequence[str]) -> dict[str, int]:
    """Count convolutions by the types of their first input and output, from the builder's log.

    The engine inspector could tell, but it needs a loaded engine, which needs the GPU.
    """
    counts: Counter[str] = Counter()
    for layer in layers:
        kind = re.search(r"LayerType: (\w+)", layer)
        types = re.search(r"Inputs: .*?Datatype: (\w+).*Outputs: .*?Datatype: (\w+)", layer)
        if kind and types and kind[1] in _CONVOLUTIONS:
            counts[f"{types[1]} -> {types[2]}"] += 1
    return dict(sorted(counts.items()))


def is_malformed(sdk: Sdk, plan: bytes) -> bool:
    """Tell whether an engine's header is damaged; False if this TensorRT cannot tell.

    The engine is not loaded. Version and GPU are not checked, because that needs a driver; loading
    the engine checks them.
    """
    trt = sdk.module
    if not hasattr(trt, "EngineInvalidityDiagnostics"):
        return False
    _, diagnostics = trt.Runtime(make_logger(sdk)).get_engine_validity(plan)
    return bool(diagnostics & int(trt.EngineInvalidityDiagnostics.MALFORMED_ENGINE))
