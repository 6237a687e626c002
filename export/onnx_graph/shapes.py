"""Types and shapes of a graph's tensors."""

import onnx


def tensor_types(model: onnx.ModelProto) -> dict[str, tuple[int, list[int]]]:
    """Return the element type (of `onnx.TensorProto`) and the shape of every tensor, by name.

    Args:
        model: with fixed shapes.
    """
    inferred = onnx.shape_inference.infer_shapes(model).graph
    types = {tensor.name: (tensor.data_type, list(tensor.dims)) for tensor in inferred.initializer}
    for value in (*inferred.input, *inferred.value_info, *inferred.output):
        tensor = value.type.tensor_type
        types[value.name] = (tensor.elem_type, [d.dim_value for d in tensor.shape.dim])
    return types
