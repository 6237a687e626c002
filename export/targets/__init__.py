"""What bundles can be made for, by name."""

from collections.abc import Callable, Mapping

from elir_edge.errors import UsageError
from elir_edge.model import Elir
from export.imx500.fit import Fit, estimate
from export.targets.base import Target
from export.targets.imx500 import Imx500Target
from export.targets.onnx import OnnxTarget
from export.targets.tensorrt import TensorRtTarget
from export.targets.tflite import TfliteTarget

TARGETS: dict[str, Target] = {
    "onnx": OnnxTarget(),
    "tensorrt": TensorRtTarget(),
    "tflite": TfliteTarget(),
    "imx500": Imx500Target(),
}

FITS: Mapping[str, Callable[[Elir, int], Fit]] = {"imx500": estimate}
"""How to tell in seconds whether a model fits, for targets of which the smallest are tight."""

OWN_VARIANTS: Mapping[str, str] = {"imx500": "sensor"}
"""What is exported where no variant is asked for and the task has such weights; else `nano`."""


def get_target(name: str) -> Target:
    """Return a target.

    Raises:
        UsageError: no such target.
    """
    if name not in TARGETS:
        raise UsageError(f"unknown target {name!r}", expected=f"one of {', '.join(TARGETS)}")
    return TARGETS[name]


__all__ = ["FITS", "OWN_VARIANTS", "TARGETS", "Target", "get_target"]
