"""The convolutions of an ONNX graph, with the stage and the cost of each."""

import numpy as np
import onnx

from export.int8.candidates import Convolution
from export.int8.cost import Work
from export.onnx_graph.shapes import tensor_types


def convolutions_of(probe: onnx.ModelProto, shipped: onnx.ModelProto) -> dict[str, Convolution]:
    """Return the convolutions that can be quantized, by node name, in the order of computation.

    Args:
        probe: the graph with all stages as outputs.
        shipped: the same graph with the restored image as its only output.
    """
    stages, work = stage_of_nodes(probe), work_of_convolutions(shipped)
    return {
        node.name: Convolution(stage=stages[node.name], cost=work[node.output[0]].in_float)
        for node in shipped.graph.node
        if node.op_type == "Conv"
    }


def with_parameters(
    model: onnx.ModelProto, source: onnx.ModelProto, *, kernels: bool
) -> onnx.ModelProto:
    """Return a graph with the kernels or biases of another graph's convolutions.

    Args:
        model: the graph; it is not changed.
        source: the graph with the parameters, equal except for the image size; parameters are
            matched by name.
        kernels: whether the kernels are copied; if not, the biases.
    """
    given = {tensor.name: tensor for tensor in source.graph.initializer}
    result = onnx.ModelProto()
    result.CopyFrom(model)
    position = 1 if kernels else 2
    wanted = {
        node.input[position]
        for node in result.graph.node
        if node.op_type in ("Conv", "ConvTranspose") and len(node.input) > position
    }
    for tensor in result.graph.initializer:
        if tensor.name in wanted and tensor.name in given:
            tensor.CopyFrom(given[tensor.name])
    return result


def stage_of_nodes(probe: onnx.ModelProto) -> dict[str, str]:
    """Return the stage of each node of a probe graph: the first stage that depends on it."""
    producers = {output: node for node in probe.graph.node for output in node.output}
    stages: dict[str, str] = {}
    for output in probe.graph.output:
        waiting = [output.name]
        while waiting:
            node = producers.get(waiting.pop())
            if node is not None and node.name not in stages:
                stages[node.name] = output.name
                waiting += node.input
    return stages


def work_of_convolutions(model: onnx.ModelProto) -> dict[str, Work]:
    """Return the work of all convolutions of a graph with fixed shapes, by the output's name."""
    shapes = {name: shape for name, (_, shape) in tensor_types(model).items()}
    work = {}
    for node in model.graph.node:
        if node.op_type in ("Conv", "ConvTranspose"):
            input_shape, output_shape = shapes[node.input[0]], shapes[node.output[0]]
            # Each output pixel meets every weight; in a transposed convolution, each input pixel.
            places = output_shape if node.op_type == "Conv" else input_shape
            work[node.output[0]] = Work(
                macs=int(np.prod(places) // places[1] * np.prod(shapes[node.input[1]])),
                values=int(np.prod(input_shape) + np.prod(output_shape)),
            )
    return work
