"""Which operations the delegates of phones take: a table, and a check of a file against it.

Sources: TensorFlow Lite's own delegates, `gpu/common/model_builder.cc` and `hexagon/utils.cc`.
XNNPACK is asked itself: it runs on every machine. No GPU or NPU can be asked here, so for those the
table is all there is.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from export.targets.tflite.file import Operation

MAX_RANK = 4
"""Delegates reject tensors with more axes, and with them often the whole graph."""

_COMMON = frozenset(
    {
        "ADD",
        "CONCATENATION",
        "CONV_2D",
        "DEQUANTIZE",  # Hexagon leaves the one at the edge to the CPU
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
"""Operations that ELIR's graphs may come to have, by the delegate that takes them."""

REQUIRED = ("xnnpack", "gpu")
"""Delegates that must take all of a file; of the others the manifest tells."""

LAYOUT = ("TRANSPOSE", "RESHAPE")
"""Operations that only move data about."""


@dataclass(frozen=True, kw_only=True)
class Portability:
    """What a file is made of, and who rejects what of it.

    Attributes:
        operations: how many of each kind.
        layout_operations: how many only move data about.
        rejected: by delegate, what it does not take and why.
    """

    operations: dict[str, int]
    layout_operations: int
    rejected: dict[str, list[str]]


def judge_operations(operations: Sequence[Operation], undelegated: Sequence[str]) -> Portability:
    """Compare a file's operations with the table.

    Args:
        operations: of the file.
        undelegated: kinds of those that XNNPACK left.
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
