"""A float32 graph, ranges and a recipe make a Q/DQ graph; ONNX Runtime's quantizer writes it."""

import copy
from collections.abc import Mapping

import numpy as np
import onnx

from export.int8.ranges import Range
from export.int8.recipe import PLACEMENTS, Recipe


def quantize(
    model: onnx.ModelProto, ranges: Mapping[str, Range], recipe: Recipe
) -> onnx.ModelProto:
    """Return the Q/DQ form of a float32 graph; nothing is quantized that the recipe excludes.

    Args:
        model: float32, its weights already rounded as the recipe says.
        ranges: of its tensors, by the recipe's estimator.
        recipe: placement and convolutions in float32; the rest is done before and after.
    """
    # A tool on ONNX files that comes with ONNX Runtime; its runtime is used by the backend alone.
    from onnxruntime.quantization import CalibrationMethod, QuantType
    from onnxruntime.quantization.calibrate import TensorData, TensorsData
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

    placement = PLACEMENTS[recipe.placement]
    data = {
        name: TensorData(lowest=np.float32(low), highest=np.float32(high))
        for name, (low, high) in ranges.items()
    }
    quantizer = QDQQuantizer(
        copy.deepcopy(model),
        per_channel=True,
        reduce_range=False,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QInt8 if recipe.symmetric else QuantType.QUInt8,
        tensors_range=TensorsData(CalibrationMethod.MinMax, data),
        nodes_to_quantize=[],
        nodes_to_exclude=list(recipe.float_nodes),
        op_types_to_quantize=list(placement.around),
        extra_options={
            "OpTypesToExcludeOutputQuantization": list(placement.inputs_only),
            # Float biases serve every runtime, and can be corrected.
            "QuantizeBias": False,
            "ActivationSymmetric": recipe.symmetric,
        },
    )
    quantizer.quantize_model()
    quantizer.model.topological_sort()
    quantized: onnx.ModelProto = quantizer.model.model
    onnx.checker.check_model(quantized)
    return quantized
