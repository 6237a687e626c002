"""A float32 ONNX graph becomes one of half precision: for every target whose types decide."""

import onnx

from elir_edge.telemetry import without_telemetry

_NORMS = ("InstanceNormalization", "LayerNormalization", "GroupNormalization")


def to_half(model: onnx.ModelProto) -> tuple[onnx.ModelProto, dict[str, str]]:
    """Convert weights and arithmetic to fp16; inputs, outputs and norms stay float32.

    Returns:
        The graph, and the nodes that stay in float32 with the reason.
    """
    # A tool on ONNX files that comes with ONNX Runtime; its runtime is used by the backend alone.
    without_telemetry()
    from onnxruntime.transformers.float16 import convert_float_to_float16
    from onnxruntime.transformers.onnx_model import OnnxModel

    norms = {node.name for node in model.graph.node if node.op_type in _NORMS}
    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    half = convert_float_to_float16(
        copied, keep_io_types=True, node_block_list=sorted(norms), disable_shape_infer=False
    )
    # The converter appends its casts at the end, where a valid file may not have them.
    OnnxModel(half).topological_sort()
    onnx.checker.check_model(half, full_check=True)
    reason = "sums of squares over many pixels leave fp16's range"
    return half, dict.fromkeys(sorted(norms), reason)
