"""Which GPU runs which precision in which TensorRT: a table, and what to do about its gaps.

TensorRT-RTX: Turing and Ampere (8.6) by what its builder made of int8 graphs here (for Turing it
parses and builds them as well, but what comes out computes in floats); the other rows by the
vendor's matrix as far as it is known to us. Full TensorRT: not checked against the vendor's
matrix, nor run.
"""

import re
from dataclasses import dataclass

from elir_edge.errors import UsageError

RTX, FULL = "tensorrt-rtx", "tensorrt"
"""TensorRT-RTX builds without a GPU; full TensorRT only on the GPU that is to run the engine."""
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
"""Compute capabilities that an engine can be built for without a GPU, and who has them."""
_ON_THE_JETSON = (
    "export for any GPU (e.g. --gpu sm86), copy the bundle to it and run `elir-edge build-engine "
    "BUNDLE` there, with the TensorRT of its JetPack"
)
_BY_ONNX = (
    "export --target onnx and run it there with ONNX Runtime: its JetPack has no TensorRT 10, "
    "which `elir-edge build-engine` needs"
)


@dataclass(frozen=True, kw_only=True)
class Jetson:
    """A family of boards on which engines can be built, but not for which.

    Attributes:
        name: the vendor's.
        words: by which people ask for it.
        way: how a model gets there.
    """

    name: str
    words: tuple[str, ...]
    way: str


JETSONS: dict[str, Jetson] = {
    "sm53": Jetson(name="Jetson Nano, TX1", words=("nano", "tx1"), way=_BY_ONNX),
    "sm62": Jetson(name="Jetson TX2", words=("tx2",), way=_BY_ONNX),
    "sm72": Jetson(name="Jetson Xavier", words=("xavier",), way=_BY_ONNX),
    "sm87": Jetson(name="Jetson Orin", words=("orin",), way=_ON_THE_JETSON),
    "sm110": Jetson(name="Jetson Thor", words=("thor", "sm101"), way=_ON_THE_JETSON),
}
"""By compute capability, the newest last.

JetPack 6 and 7 (Orin, Thor) bring TensorRT 10, JetPack 5 and older (Xavier, TX2, Nano) 8.x
(NVIDIA's JetPack release notes). Nothing here was run on a Jetson.
"""
_FLOATS = ("fp16", "fp32")
_ALL = ("fp16", "int8", "fp32")
PRECISIONS: dict[str, dict[str, tuple[str, ...]]] = {
    RTX: {
        "sm75": _FLOATS,
        "sm80": _FLOATS,  # the vendor's matrix has int8 from 8.6 on
        "sm86": _ALL,
        "sm89": _ALL,
        "sm120": _ALL,
    },
    FULL: dict.fromkeys(
        ("sm75", "sm80", "sm86", "sm87", "sm89", "sm90", "sm100", "sm110", "sm120"), _ALL
    ),
}
"""By TensorRT and compute capability; the first is the one to take: no int8 engine was timed."""


def require_known(gpu: str) -> None:
    """Require a name that `--gpu` takes.

    Raises:
        UsageError: it is none.
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
    """Return the compute capability of the Jetson that a name means: `jetson-agx-orin`, `sm87`."""
    words = set(re.split(r"[^a-z0-9]+", gpu.lower()))
    # Orin Nano is an Orin: the newer the name, the sooner it is looked for.
    for capability, jetson in reversed(JETSONS.items()):
        if words & {capability, *jetson.words}:
            return capability
    return None


def require_supported(kind: str, gpu: str, precision: str) -> None:
    """Require that a TensorRT computes in a precision on a GPU.

    Raises:
        UsageError: it does not; the line says what does.
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
