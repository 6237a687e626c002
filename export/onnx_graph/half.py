"""Conversion of a float32 ONNX graph to fp16, for targets that compute in the graph's types."""

import onnx

from elir_edge.telemetry import without_telemetry

_NORMS = ("InstanceNormalization", "LayerNormalization", "GroupNormalization")


def to_half(model: onnx.ModelProto) -> tuple[onnx.ModelProto, dict[str, str]]:
    """Convert weights and arithmetic to fp16; inputs, outputs and norms stay float32.

    Returns:
        The graph, and the reason for each node that stays in float32.
    """
    # This imports only a file tool of ONNX Runtime; the runtime itself is used in its backend.
    without_telemetry()
    from onnxruntime.transformers.float16 import convert_float_to_float16
    from onnxruntime.transformers.onnx_model import OnnxModel

    norms = {node.name for node in model.graph.node if node.op_type in _NORMS}
    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    half = convert_float_to_float16(
        copied, keep_io_types=True, node_block_list=sorted(norms), disable_shape_infer=False
    )
    # The converter appends its casts at the end, but a valid file must be sorted topologically.
    OnnxModel(half).topological_sort()
    onnx.checker.check_model(half, full_check=True)
    reason = "sums of squares over many pixels leave fp16's range"
    return half, dict.fromkeys(sorted(norms), reason)
