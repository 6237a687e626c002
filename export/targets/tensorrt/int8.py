"""INT8 for TensorRT: symmetric Q/DQ, judged by computing the very same graph in floats.

TensorRT takes int8 with zero point 0 and floating-point biases only, and chooses its own fusions.
"""

from collections.abc import Callable

import onnx
from onnx import numpy_helper

from elir_edge.errors import ExportError
from export.int8.gates import gate_checks, reasons, require_gates_of_search
from export.qdq.calibrated import CalibratedGraph
from export.qdq.quantize import QuantizedGraph
from export.qdq.running import running

RUNTIME = "trt"


def quantize_symmetric(
    graph: CalibratedGraph, *, enforce_gates: bool, report: Callable[[str], None]
) -> QuantizedGraph:
    """Find a recipe, carry it out and judge it on crops of its own.

    Args:
        graph: the float32 graph.
        enforce_gates: whether a recipe that misses them is repaired, and a miss is an error.
        report: told what is going on.

    Raises:
        ParityError: a gate is missed; stage, layers and fixes are named.
    """
    result = graph.search(RUNTIME, {}, repair=enforce_gates)
    model = graph.quantize(result.recipe)
    require_symmetric(model)
    report("gates")
    with running(model, RUNTIME) as run:
        checks = gate_checks("ONNX Runtime, as written", graph.for_gates(run))
    if enforce_gates:
        require_gates_of_search(RUNTIME, checks, result)
    excluded = reasons(result.recipe.float_nodes, result.layers)
    return QuantizedGraph(model=model, result=result, excluded=excluded, checks=checks)


def require_symmetric(model: onnx.ModelProto) -> None:
    """Require what TensorRT takes: signed levels with zero in the middle, and no int32 biases.

    Raises:
        ExportError: the nodes at fault are all named.
    """
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    faults = []
    for node in model.graph.node:
        if node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
            continue
        zero = numpy_helper.to_array(constants[node.input[2]])
        if zero.dtype.name != "int8" or zero.any():
            faults.append(f"{node.name} ({zero.dtype.name} zero point {zero.flat[0]})")
    if faults:
        raise ExportError(
            "TensorRT takes int8 with zero point 0 only", got=", ".join(faults[:5]) + " ..."
        )
