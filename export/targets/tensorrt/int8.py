"""INT8 for TensorRT: symmetric Q/DQ.

TensorRT supports only int8 with zero point 0 and floating-point biases, and fuses layers itself.
"""

import onnx
from onnx import numpy_helper

from elir_edge.errors import ExportError
from export.int8.gates import reasons
from export.int8.search import Effort
from export.qdq.calibrated import CalibratedGraph
from export.qdq.quantize import QuantizedGraph

RUNTIME = "trt"


def quantize_symmetric(graph: CalibratedGraph, *, effort: Effort) -> QuantizedGraph:
    """Search for a recipe and quantize the graph with it.

    Args:
        graph: the float32 graph.
        effort: extent of the search.

    Raises:
        ExportError: the quantized graph has nodes that TensorRT does not support.
    """
    result = graph.search(RUNTIME, {}, effort=effort)
    model = graph.quantize(result.recipe)
    require_symmetric(model)
    excluded = reasons(result.recipe.float_nodes, result.gains)
    return QuantizedGraph(model=model, result=result, excluded=excluded)


def require_symmetric(model: onnx.ModelProto) -> None:
    """Require Q/DQ nodes that TensorRT supports: int8 with zero point 0, and no int32 biases.

    Raises:
        ExportError: nodes violate this; all of them are listed.
    """
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    faults = []
    for node in model.graph.node:
        if node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
            continue
        zero = numpy_helper.to_array(constants[node.input[2]])
        if zero.dtype.name != "int8" or zero.any():
            faults.append(f"{node.name} ({zero.dtype.name} {zero.flat[0]})")
    if faults:
        raise ExportError(
            "TensorRT supports only int8 with zero point 0",
            got=f"{len(faults)} with another zero point: {', '.join(faults)}",
        )
