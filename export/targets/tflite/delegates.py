"""A table of the operations that phones' delegates support, and a check of a file against it.

Sources: TensorFlow Lite's own delegates, `gpu/common/model_builder.cc` and `hexagon/utils.cc`.
XNNPACK runs on every machine, so it is asked itself. GPU and NPU delegates cannot be asked here;
for them there is only the table.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from export.targets.tflite.file import Operation

MAX_RANK = 4
"""Delegates reject tensors with more axes, and then often the whole graph."""

_COMMON = frozenset(
    {
        "ADD",
        "CONCATENATION",
        "CONV_2D",
        "DEQUANTIZE",  # Hexagon leaves the one at the graph's edge to the CPU
        "LOGISTIC",
        "MEAN",
        "MUL",
        "PAD",
        "QUANTIZE",
        "RELU",
        "SUB",
        "TANH",
        "TRANSPOSE",
        "TRANSPOSE_CONV",
    }
)
ACCEPTED: dict[str, frozenset[str]] = {
    "gpu": _COMMON | {"RESHAPE", "RSQRT"},
    "hexagon": _COMMON | {"DEPTH_TO_SPACE", "RESHAPE"},
}
"""Operations that ELIR's graphs may contain and a delegate accepts, by delegate."""

REQUIRED = ("xnnpack", "gpu")
"""Delegates that must accept a whole file; for others, the manifest lists what they reject."""

LAYOUT = ("TRANSPOSE", "RESHAPE")
"""Operations that only move data."""


@dataclass(frozen=True, kw_only=True)
class Portability:
    """The operations of a file, and those that delegates reject.

    Attributes:
        operations: number of operations of each kind.
        layout_operations: number of operations that only move data.
        rejected: by delegate, the operations that it rejects, with the reasons.
    """

    operations: dict[str, int]
    layout_operations: int
    rejected: dict[str, list[str]]


def judge_operations(operations: Sequence[Operation], undelegated: Sequence[str]) -> Portability:
    """Compare a file's operations with the table.

    Args:
        operations: the file's operations.
        undelegated: kinds of the operations that XNNPACK does not run.
    """
    counts = Counter(operation.kind for operation in operations)
    general = {
        f"{operation.kind}: {reason}"
        for operation in operations
        for reason in _shape_faults(operation)
    }
    rejected = {"xnnpack": {f"{kind}: left by XNNPACK" for kind in undelegated}}
    for delegate, accepted in ACCEPTED.items():
        unknown = {f"{kind}: not supported" for kind in counts if kind not in accepted}
        rejected[delegate] = unknown | general
    return Portability(
        operations=dict(sorted(counts.items())),
        layout_operations=sum(counts[kind] for kind in LAYOUT),
        rejected={delegate: sorted(faults) for delegate, faults in rejected.items()},
    )


def _shape_faults(operation: Operation) -> list[str]:
    faults = []
    if operation.rank > MAX_RANK:
        faults.append(f"{operation.rank} axes, {MAX_RANK} at most")
    if not operation.static:
        faults.append("a size that is not fixed")
    return faults
