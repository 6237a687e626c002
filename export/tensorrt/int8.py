"""INT8 for TensorRT: symmetric Q/DQ, judged by computing the very same graph in floats.

TensorRT takes int8 with zero point 0 and floating-point biases only, and chooses its own fusions.
"""

import functools
from collections.abc import Callable

import onnx
from onnx import numpy_helper

from elir_edge.errors import ExportError
from export.int8.begin import Begun, reasons
from export.int8.cache import cached
from export.int8.make import Made, gate_checks, require_gates
from export.int8.running import running

RUNTIME = "trt"


def make_symmetric(begun: Begun, *, enforce_gates: bool, report: Callable[[str], None]) -> Made:
    """Find a recipe, carry it out and judge it on crops of its own.

    Args:
        begun: the graph, observed.
        enforce_gates: whether a recipe that misses them is repaired, and a miss is an error.
        report: told what is going on.

    Raises:
        ParityError: a gate is missed; stage, layers and mends are named.
    """
    search = begun.search
    key = {**begun.key, "runtime": RUNTIME}
    find = functools.partial(search.find_untimed, RUNTIME, repair=enforce_gates)
    finding = cached(key, find, report)
    model = search.make(finding.recipe)
    require_symmetric(model)
    report("gates")
    with running(model, RUNTIME) as run:
        checks = gate_checks("ONNX Runtime, as written", begun.for_gates(run))
    if enforce_gates:
        require_gates(RUNTIME, checks, finding)
    excluded = reasons(finding.recipe.float_nodes, finding.layers)
    return Made(model=model, finding=finding, excluded=excluded, checks=checks)


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
