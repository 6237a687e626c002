"""Where pairs of QuantizeLinear and DequantizeLinear stand in an ONNX graph."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class QdqPlacement(StrEnum):
    """What stands between pairs; see `PAIRS`."""

    ALL = "all"
    ALL_BUT_SUMS = "all_but_sums"
    ALL_BUT_TRUNKS = "all_but_trunks"
    CONVOLUTIONS = "convolutions"
    CONVOLUTION_INPUTS = "convolution_inputs"
    CONVOLUTION_INPUTS_BUT_TRUNKS = "convolution_inputs_but_trunks"


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """The operators that pairs stand around.

    Attributes:
        around: operators whose inputs and outputs get a pair.
        inputs_only: those of them whose outputs get none.
        float_trunks: whether additions read in float32 what convolutions read in 8 bits, where it
            is computed in float32: residual trunks are then not rounded at every block.
    """

    around: tuple[str, ...]
    inputs_only: tuple[str, ...] = ()
    float_trunks: bool = False


_MOVERS = ("Relu", "Concat", "Resize", "DepthToSpace")
PAIRS: Mapping[QdqPlacement, Pairs] = {
    QdqPlacement.ALL: Pairs(around=("Conv", *_MOVERS, "Mul", "Sigmoid", "Add")),
    QdqPlacement.ALL_BUT_SUMS: Pairs(around=("Conv", *_MOVERS, "Mul", "Sigmoid")),
    QdqPlacement.ALL_BUT_TRUNKS: Pairs(
        around=("Conv", *_MOVERS, "Mul", "Sigmoid"), float_trunks=True
    ),
    QdqPlacement.CONVOLUTIONS: Pairs(around=("Conv", *_MOVERS)),
    QdqPlacement.CONVOLUTION_INPUTS: Pairs(around=("Conv",), inputs_only=("Conv",)),
    QdqPlacement.CONVOLUTION_INPUTS_BUT_TRUNKS: Pairs(
        around=("Conv",), inputs_only=("Conv",), float_trunks=True
    ),
}
"""ONNX Runtime computes a convolution in integers only between two pairs; OpenVINO needs the one
before it, and keeps sums in float where none stands after it."""

BY_RUNTIME: Mapping[str, tuple[QdqPlacement, ...]] = {
    "onnxruntime": (
        QdqPlacement.ALL_BUT_TRUNKS,
        QdqPlacement.ALL_BUT_SUMS,
        QdqPlacement.ALL,
        QdqPlacement.CONVOLUTIONS,
        QdqPlacement.CONVOLUTION_INPUTS,
    ),
    "openvino": (
        QdqPlacement.CONVOLUTION_INPUTS_BUT_TRUNKS,
        QdqPlacement.CONVOLUTION_INPUTS,
        QdqPlacement.ALL_BUT_TRUNKS,
        QdqPlacement.ALL_BUT_SUMS,
        QdqPlacement.CONVOLUTIONS,
        QdqPlacement.ALL,
    ),
    "trt": (QdqPlacement.CONVOLUTION_INPUTS,),
}
"""What is tried for each runtime. TensorRT fuses what lies between a convolution and the next pair;
no GPU was there to time another placement."""
