"""The targets by name."""

from typing import Any

from elir_edge.errors import UsageError
from export.targets.base import Target
from export.targets.imx500.target import Imx500Target
from export.targets.onnx.target import OnnxTarget
from export.targets.tensorrt.target import TensorRtTarget
from export.targets.tflite.target import TfliteTarget

TARGETS: dict[str, Target[Any]] = {
    "onnx": OnnxTarget(),
    "tensorrt": TensorRtTarget(),
    "tflite": TfliteTarget(),
    "imx500": Imx500Target(),
}


def get_target(name: str) -> Target[Any]:
    """Return the target called `name`.

    Raises:
        UsageError: there is no such target.
    """
    if name not in TARGETS:
        raise UsageError(f"unknown target {name!r}", expected=f"one of {', '.join(TARGETS)}")
    return TARGETS[name]
