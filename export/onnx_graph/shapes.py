"""Types and shapes of a graph's tensors."""

import numpy as np
import onnx
from onnx import numpy_helper

from export.onnx_graph.to_onnx import IMAGE, NOISE
from export.static.noise import corner

_IMAGE_RANK = 4


def tensor_types(model: onnx.ModelProto) -> dict[str, tuple[int, list[int]]]:
    """Return the element type (of `onnx.TensorProto`) and the shape of every tensor, by name.

    Args:
        model: a graph with fixed shapes.
    """
    inferred = onnx.shape_inference.infer_shapes(model).graph
    types = {tensor.name: (tensor.data_type, list(tensor.dims)) for tensor in inferred.initializer}
    for value in (*inferred.input, *inferred.value_info, *inferred.output):
        tensor = value.type.tensor_type
        types[value.name] = (tensor.elem_type, [d.dim_value for d in tensor.shape.dim])
    return types


def at_side(model: onnx.ModelProto, side: int) -> onnx.ModelProto:
    """Return the graph for smaller images; its noise is a corner of the given graph's noise.

    Args:
        model: a graph of `to_probe_graph` or `to_shipped_graph` for square images. In it, only the
            noise and the reshapes of norms depend on the image size.
        side: side of the images in pixels, at most the graph's own.
    """
    graph = onnx.ModelProto()
    graph.CopyFrom(model)
    del graph.graph.value_info[:]
    values = {value.name: value for value in graph.graph.input}
    own = _dimensions(values[IMAGE])[3].dim_value
    for value in (*graph.graph.input, *graph.graph.output):
        for dimension in _dimensions(value)[2:]:
            dimension.dim_value = dimension.dim_value * side // own
    reshapes = {node.input[1] for node in graph.graph.node if node.op_type == "Reshape"}
    for tensor in graph.graph.initializer:
        value = numpy_helper.to_array(tensor)
        if tensor.name == NOISE:
            value = corner(value, side, own)
        elif tensor.name in reshapes and len(value) == _IMAGE_RANK:
            value = np.array([*value[:2], *(value[2:] * side // own)], value.dtype)
        else:
            continue
        tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(value), tensor.name))
    onnx.checker.check_model(graph, full_check=True)
    return graph


def _dimensions(value: onnx.ValueInfoProto) -> list[onnx.TensorShapeProto.Dimension]:
    return list(value.type.tensor_type.shape.dim)
