"""What a Q/DQ graph is made by: small enough to read, complete enough to make it again."""

from dataclasses import dataclass
from typing import Literal

from export.int8.ranges import Estimator


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where pairs of QuantizeLinear and DequantizeLinear stand.

    Attributes:
        name: in recipes.
        around: operators whose inputs and outputs get a pair.
        inputs_only: those of them whose outputs get none.
        float_trunks: whether additions read in float32 what convolutions read in 8 bits, where it
            is computed in float32: residual trunks are then not rounded at every block.
    """

    name: str
    around: tuple[str, ...]
    inputs_only: tuple[str, ...] = ()
    float_trunks: bool = False


_MOVERS = ("Relu", "Concat", "Resize", "DepthToSpace")
PLACEMENTS = {
    placement.name: placement
    for placement in (
        Placement(name="all", around=("Conv", *_MOVERS, "Mul", "Sigmoid", "Add")),
        Placement(name="all_but_sums", around=("Conv", *_MOVERS, "Mul", "Sigmoid")),
        Placement(
            name="all_but_trunks", around=("Conv", *_MOVERS, "Mul", "Sigmoid"), float_trunks=True
        ),
        Placement(name="convolutions", around=("Conv", *_MOVERS)),
        Placement(name="convolution_inputs", around=("Conv",), inputs_only=("Conv",)),
        Placement(
            name="convolution_inputs_but_trunks",
            around=("Conv",),
            inputs_only=("Conv",),
            float_trunks=True,
        ),
    )
}
"""ONNX Runtime computes a convolution in integers only between two pairs; OpenVINO needs the one
before it, and keeps sums in float where none stands after it."""

BY_RUNTIME: dict[str, tuple[str, ...]] = {
    "onnxruntime": ("all_but_trunks", "all_but_sums", "all", "convolutions", "convolution_inputs"),
    "openvino": (
        "convolution_inputs_but_trunks",
        "convolution_inputs",
        "all_but_trunks",
        "all_but_sums",
        "convolutions",
        "all",
    ),
    "trt": ("convolution_inputs",),
}
"""What is tried for each runtime. TensorRT fuses what lies between a convolution and the next pair;
no GPU was there to time another placement."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How one float32 graph becomes one Q/DQ graph, given calibration crops.

    Activations are uint8 with a zero point, or int8 without one where `symmetric`; weights
    are int8 per output channel, biases float32.

    Attributes:
        placement: one of `PLACEMENTS`.
        estimator: of the activations' ranges.
        rounding: of the weights: to the `nearest` level, or `compensated` (`rounding.py`).
        corrected: whether the biases make up for the mean error.
        float_nodes: convolutions that stay in float32.
        symmetric: whether zero lies in the middle of the activations' levels: TensorRT takes no
            other.
    """

    placement: str
    estimator: Estimator
    rounding: Literal["nearest", "compensated"] = "compensated"
    corrected: bool = False
    float_nodes: tuple[str, ...] = ()
    symmetric: bool = False

    @property
    def title(self) -> str:
        """The recipe in a line."""
        parts = [self.placement, self.estimator, f"{self.rounding} rounding"]
        if self.symmetric:
            parts.append("symmetric")
        if self.corrected:
            parts.append("biases corrected")
        if self.float_nodes:
            parts.append(f"{len(self.float_nodes)} convolutions in float")
        return ", ".join(parts)
