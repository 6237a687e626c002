"""Bias correction of the last convolution, so that the quantized network keeps the mean colour.

Rounding and clipping shift the mean of an image slightly, by a different amount for each colour.
The shift is measured on calibration crops and subtracted from the biases of the last convolution
(Nagel et al., 2019, correct every layer in this way).
"""

from collections.abc import Sequence

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from elir_edge.errors import ExportError


def mean_shift(
    expected: Sequence[NDArray[np.float32]], got: Sequence[NDArray[np.float32]]
) -> NDArray[np.float32]:
    """Return the mean of got - expected per colour, (3,), over images (3, H, W)."""
    shifts = [(b - a).mean((1, 2)) for a, b in zip(expected, got, strict=True)]
    return np.asarray(np.mean(shifts, axis=0), np.float32)


def without_shift(model: onnx.ModelProto, shift: NDArray[np.float32]) -> onnx.ModelProto:
    """Return the graph with the shift subtracted from the last convolution's biases.

    Raises:
        ExportError: the graph does not end in a convolution with one bias per colour.
    """
    corrected = onnx.ModelProto()
    corrected.CopyFrom(model)
    last = [n for n in corrected.graph.node if n.op_type in ("Conv", "ConvTranspose")][-1:]
    name = last[0].input[2] if last and len(last[0].input) > 2 else ""
    for tensor in corrected.graph.initializer:
        if tensor.name == name and list(tensor.dims) == list(shift.shape):
            bias = numpy_helper.to_array(tensor) - shift
            tensor.CopyFrom(numpy_helper.from_array(bias, name))
            return corrected
    raise ExportError("the quantized graph does not end in a convolution with a bias per colour")
