"""The table of precisions that TensorRT supports on each GPU, and advice for its gaps.

TensorRT-RTX: the rows of Turing and Ampere (8.6) come from the int8 engines that its builder made
here (for Turing, it also builds them, but they compute in floats); the other rows follow the
vendor's matrix as far as we know it. Full TensorRT: the rows were not checked against the vendor's
matrix, and nothing was run.
"""

import re
from dataclasses import dataclass

from elir_edge.errors import UsageError

RTX, FULL = "tensorrt-rtx", "tensorrt"
"""TensorRT-RTX builds without a GPU; full TensorRT builds only on the GPU that runs the engine."""
CURRENT = "current"
DEFAULT_GPU = "sm75"
"""The RTX 2080 Ti."""
GPUS: dict[str, str] = {
    "sm75": "RTX 20, GTX 16, T4 (Turing)",
    "sm80": "A100 (Ampere, data centre)",
    "sm86": "RTX 30, A10 (Ampere)",
    "sm89": "RTX 40, L4 (Ada)",
    "sm120": "RTX 50 (Blackwell)",
}
"""Compute capabilities that an engine can be built for without a GPU, with the GPUs' names."""
_BUILD_ON_JETSON = (
    "export for any GPU (e.g. --gpu sm86), copy the bundle to it and run `elir-edge build-engine "
    "BUNDLE` there, with the TensorRT of its JetPack"
)
_USE_ONNX = (
    "export --target onnx and run it there with ONNX Runtime: its JetPack has no TensorRT 10, "
    "which `elir-edge build-engine` needs"
)


@dataclass(frozen=True, kw_only=True)
class Jetson:
    """A family of boards for which engines can only be built on the board itself.

    Attributes:
        name: the vendor's name.
        words: words by which users refer to it.
        way: how to run a model on it.
    """

    name: str
    words: tuple[str, ...]
    way: str


JETSONS: dict[str, Jetson] = {
    "sm53": Jetson(name="Jetson Nano, TX1", words=("nano", "tx1"), way=_USE_ONNX),
    "sm62": Jetson(name="Jetson TX2", words=("tx2",), way=_USE_ONNX),
    "sm72": Jetson(name="Jetson Xavier", words=("xavier",), way=_USE_ONNX),
    "sm87": Jetson(name="Jetson Orin", words=("orin",), way=_BUILD_ON_JETSON),
    "sm110": Jetson(name="Jetson Thor", words=("thor", "sm101"), way=_BUILD_ON_JETSON),
}
"""Boards by compute capability, the newest last.

JetPack 6 and 7 (Orin, Thor) bring TensorRT 10, JetPack 5 and older (Xavier, TX2, Nano) 8.x
(NVIDIA's JetPack release notes). Nothing here was run on a Jetson.
"""
_FLOATS = ("fp16", "fp32")
_ALL = ("fp16", "int8", "fp32")
PRECISIONS: dict[str, dict[str, tuple[str, ...]]] = {
    RTX: {
        "sm75": _FLOATS,
        "sm80": _FLOATS,  # in the vendor's matrix, int8 starts at 8.6
        "sm86": _ALL,
        "sm89": _ALL,
        "sm120": _ALL,
    },
    FULL: dict.fromkeys(
        ("sm75", "sm80", "sm86", "sm87", "sm89", "sm90", "sm100", "sm110", "sm120"), _ALL
    ),
}
"""Precisions by TensorRT and compute capability, the default first; no int8 engine was timed."""


def require_known(gpu: str) -> None:
    """Check that engines can be built for a GPU that `--gpu` names.

    Raises:
        UsageError: the name is unknown, or the GPU is a Jetson, which builds its own engines.
    """
    jetson = _find_jetson(gpu)
    if jetson is not None:
        board = JETSONS[jetson]
        raise UsageError(
            f"engines for {board.name} ({jetson}) can only be built on it",
            got=f"--gpu {gpu}",
            fix=board.way,
        )
    if gpu != CURRENT and gpu not in GPUS:
        raise UsageError(
            f"unknown GPU {gpu!r}", expected=f"one of {', '.join(GPUS)}, {CURRENT} (the one here)"
        )


def _find_jetson(gpu: str) -> str | None:
    """Return the compute capability of the Jetson with this name, e.g. `jetson-agx-orin`, `sm87`.

    None: the name is not that of a Jetson.
    """
    words = set(re.split(r"[^a-z0-9]+", gpu.lower()))
    # The newest names are tried first, because an Orin Nano is an Orin, not a Nano.
    for capability, jetson in reversed(JETSONS.items()):
        if words & {capability, *jetson.words}:
            return capability
    return None


def require_supported(kind: str, gpu: str, precision: str) -> None:
    """Check that a TensorRT supports a precision on a GPU.

    Args:
        kind: `tensorrt-rtx` or `tensorrt`.
        gpu: compute capability, e.g. `sm75`.
        precision: `fp32`, `fp16` or `int8`.

    Raises:
        UsageError: it does not; the message lists what is supported.
    """
    table = PRECISIONS[kind]
    if precision in table.get(gpu, ()):
        return
    name = f"{gpu} ({GPUS[gpu]})" if gpu in GPUS else gpu
    if gpu not in table:
        fix = "install full TensorRT on the device" if gpu in PRECISIONS[FULL] else None
        raise UsageError(f"{kind} does not support {name}", expected=", ".join(table), fix=fix)
    able = [each for each, precisions in table.items() if precision in precisions]
    raise UsageError(
        f"{kind} has no {precision} on {name}",
        expected=f"{' or '.join(table[gpu])} there, or {precision} on {', '.join(able)}",
        fix=f"use {table[gpu][0]}; or export with --gpu {able[0]}, copy the bundle to the device, "
        f"install full TensorRT there and run `elir-edge build-engine BUNDLE`",
    )
