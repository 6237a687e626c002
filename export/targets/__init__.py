"""What bundles can be made for, by name."""

from elir_edge.errors import UsageError
from export.targets.base import Target
from export.targets.onnx import OnnxTarget
from export.targets.tensorrt import TensorRtTarget
from export.targets.tflite import TfliteTarget

TARGETS: dict[str, Target] = {
    "onnx": OnnxTarget(),
    "tensorrt": TensorRtTarget(),
    "tflite": TfliteTarget(),
}


def get_target(name: str) -> Target:
    """Return a target.

    Raises:
        UsageError: no such target.
    """
    if name not in TARGETS:
        raise UsageError(f"unknown target {name!r}", expected=f"one of {', '.join(TARGETS)}")
    return TARGETS[name]


__all__ = ["TARGETS", "Target", "get_target"]
