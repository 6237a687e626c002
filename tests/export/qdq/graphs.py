"""Small graphs whose int8 form can be worked out by hand."""

from collections.abc import Mapping

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper


def graph_of(
    nodes: list[onnx.NodeProto],
    shape: tuple[int, ...],
    output: str,
    constants: Mapping[str, NDArray[np.float32]],
) -> onnx.ModelProto:
    """Return a model from `image` of a shape to one named tensor."""
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    inferred = onnx.shape_inference.infer_shapes(model)
    onnx.checker.check_model(inferred)
    return inferred


def run(model: onnx.ModelProto, image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Run it."""
    from onnxruntime import InferenceSession

    session = InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"image": image})[0])
