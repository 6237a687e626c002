"""Insertion of Q/DQ pairs into a float32 graph, with ONNX Runtime's quantizer."""

import copy
from collections.abc import Mapping

import numpy as np
import onnx

from elir_edge.telemetry import without_telemetry
from export.calibration.ranges import ActivationRange
from export.int8.recipe import Recipe
from export.memory import compact
from export.qdq.placements import PAIRS, QdqPlacement


def insert_pairs(
    model: onnx.ModelProto, ranges: Mapping[str, ActivationRange], recipe: Recipe[QdqPlacement]
) -> onnx.ModelProto:
    """Return the Q/DQ form of a float32 graph.

    Args:
        model: the float32 graph, with weights already rounded as the recipe requires.
        ranges: ranges of its tensors by name, from the recipe's estimator.
        recipe: gives the placement, the symmetry, and the convolutions that stay in float32. The
            weights' rounding and the biases' correction are not done here.
    """
    # This imports only a file tool of ONNX Runtime; the runtime itself is used in its backend.
    without_telemetry()
    from onnxruntime.quantization import CalibrationMethod, QuantType
    from onnxruntime.quantization.calibrate import TensorData, TensorsData
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

    pairs = PAIRS[recipe.placement]
    excluded = list(recipe.float_nodes)
    if pairs.float_trunks:
        excluded += _rectified_sums(model)
    data = {
        name: TensorData(lowest=np.float32(low), highest=np.float32(high))
        for name, (low, high) in _shared_by_shuffles(model, ranges).items()
    }
    quantizer = QDQQuantizer(
        copy.deepcopy(model),
        per_channel=True,
        reduce_range=False,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QInt8 if recipe.symmetric else QuantType.QUInt8,
        tensors_range=TensorsData(CalibrationMethod.MinMax, data),
        nodes_to_quantize=[],
        nodes_to_exclude=excluded,
        op_types_to_quantize=list(pairs.around),
        extra_options={
            "OpTypesToExcludeOutputQuantization": list(pairs.inputs_only),
            # All runtimes support float biases, and these can be corrected.
            "QuantizeBias": False,
            "ActivationSymmetric": recipe.symmetric,
        },
    )
    quantizer.quantize_model()
    quantizer.model.topological_sort()
    quantized: onnx.ModelProto = quantizer.model.model
    if pairs.float_trunks:
        rounded = set(pairs.around) - set(pairs.inputs_only)
        _free_sums(quantized, rounded, set(excluded))
    onnx.checker.check_model(quantized)
    return compact(quantized)


def _shared_by_shuffles(
    model: onnx.ModelProto, ranges: Mapping[str, ActivationRange]
) -> Mapping[str, ActivationRange]:
    """Give pixel shuffles' outputs the ranges of their inputs, so that they add no rounding."""
    shared = dict(ranges)
    for node in model.graph.node:
        if node.op_type == "DepthToSpace" and node.input[0] in ranges:
            shared[node.output[0]] = shared[node.input[0]]
    return shared


def _rectified_sums(model: onnx.ModelProto) -> list[str]:
    """Return the names of the ReLUs that read a sum."""
    sums = {node.output[0] for node in model.graph.node if node.op_type == "Add"}
    return [n.name for n in model.graph.node if n.op_type == "Relu" and n.input[0] in sums]


def _free_sums(model: onnx.ModelProto, rounded: set[str], excluded: set[str]) -> None:
    """Let additions read tensors before the pair that follows them for other readers.

    Args:
        model: the Q/DQ graph, which is changed in place.
        rounded: operators whose outputs are in 8 bits anyway; these need the pair to compute in
            integers, so additions continue to read the output of their pair.
        excluded: names of nodes with such an operator that stay in float32.
    """
    made_by = {node.output[0]: node for node in model.graph.node}
    for node in model.graph.node:
        if node.op_type != "Add":
            continue
        for i, name in enumerate(node.input):
            source = _before_pair(name, made_by)
            if source is not None and (source.op_type not in rounded or source.name in excluded):
                node.input[i] = source.output[0]


def _before_pair(name: str, made_by: Mapping[str, onnx.NodeProto]) -> onnx.NodeProto | None:
    """Return the node before the Q/DQ pair that makes a tensor; None: no pair makes it."""
    for kind in ("DequantizeLinear", "QuantizeLinear"):
        node = made_by.get(name)
        if node is None or node.op_type != kind:
            return None
        name = node.input[0]
    return made_by.get(name)
