"""The placements of pairs of QuantizeLinear and DequantizeLinear in an ONNX graph."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class QdqPlacement(StrEnum):
    """Names of the placements; `PAIRS` defines them."""

    ALL = "all"
    ALL_BUT_SUMS = "all_but_sums"
    ALL_BUT_TRUNKS = "all_but_trunks"
    CONVOLUTIONS = "convolutions"
    CONVOLUTION_INPUTS = "convolution_inputs"
    CONVOLUTION_INPUTS_BUT_TRUNKS = "convolution_inputs_but_trunks"


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """The operators whose tensors get pairs.

    Attributes:
        around: operators whose inputs and outputs get a pair.
        inputs_only: those operators of `around` whose outputs get no pair.
        float_trunks: whether additions read a tensor that was computed in float32 without the pair
            that convolutions read; residual trunks are then not rounded in every block.
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
"""ONNX Runtime computes a convolution in integers only if a pair precedes and another follows it.
OpenVINO needs only the preceding pair, and without a following one it keeps sums in float."""

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
"""The placements to try for each runtime. TensorRT fuses the operators between a convolution and
the next pair; other placements have not been timed on a GPU."""
