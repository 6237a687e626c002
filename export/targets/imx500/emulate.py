"""Emulation of the sensor: MCT's quantized graph in standard operators, with bytes in and out.

MCT's operators need its package (and torch). Each is replaced:

- `ActivationPOTQuantizer`: y = s clip(round(x / s)), s = t / 2^(n - signed), a power of two. It is
  written as these four steps instead of QuantizeLinear and DequantizeLinear, because ONNX Runtime's
  optimizer moves those two, which changes the image (33 dB from the unoptimized graph).
- `Weights*Quantizer`: replaced by its result, a constant that is computed here.

MCT's own export with standard operators (FAKELY_QUANT) uses QuantizeLinear and DequantizeLinear and
has the same problem.
"""

from collections.abc import Mapping

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from elir_edge.errors import ExportError
from export.onnx_graph.to_onnx import IMAGE, OPSET, RESTORED
from export.targets.imx500.mct import LEVELS

_DOMAIN = "mct_quantizers"


def to_emulation(model: onnx.ModelProto, size: int) -> onnx.ModelProto:
    """Return the graph with standard operators: uint8 (1, size, size, 3) in and out.

    Raises:
        ExportError: the graph holds an unknown operator of MCT.
    """
    graph = model.graph
    constants = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
        elif node.op_type == "Identity" and node.input[0] in constants:
            constants[node.output[0]] = constants[node.input[0]]
    source, result = graph.input[0].name, graph.output[0].name
    nodes = _bytes_to_image(source)
    initializers = [numpy_helper.from_array(v, k) for k, v in _SCALARS.items()]
    for node in graph.node:
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        if node.op_type == "ActivationPOTQuantizer":
            nodes += _activation(node, attributes, initializers)
        elif node.op_type.startswith("Weights"):
            value = _weights(node, attributes, constants)
            initializers.append(numpy_helper.from_array(value, node.output[0]))
        elif _DOMAIN in node.domain or node.domain not in ("", "ai.onnx"):
            raise ExportError(
                f"the quantized graph has an unknown operator {node.op_type}",
                expected="those of mct-quantizers 1.7",
            )
        else:
            nodes.append(node)
    nodes += _image_to_bytes(result)
    shape = [1, size, size, 3]
    emulation = helper.make_model(
        helper.make_graph(
            nodes,
            "elir",
            [helper.make_tensor_value_info(IMAGE, TensorProto.UINT8, shape)],
            [helper.make_tensor_value_info(RESTORED, TensorProto.UINT8, shape)],
            [*initializers, *graph.initializer],
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=10,
    )
    return _pruned(emulation)


_SCALARS = {
    "per_level": np.float32(1 / LEVELS),
    "levels": np.float32(LEVELS),
    "zero": np.float32(0),
    "white": np.float32(LEVELS - 1),
}


def _bytes_to_image(name: str) -> list[onnx.NodeProto]:
    return [
        helper.make_node("Cast", [IMAGE], ["image_float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["image_float", "per_level"], ["image_nhwc"]),
        helper.make_node("Transpose", ["image_nhwc"], [name], perm=[0, 3, 1, 2]),
    ]


def _image_to_bytes(name: str) -> list[onnx.NodeProto]:
    return [
        helper.make_node("Transpose", [name], ["restored_nhwc"], perm=[0, 2, 3, 1]),
        helper.make_node("Mul", ["restored_nhwc", "levels"], ["restored_levels"]),
        helper.make_node("Round", ["restored_levels"], ["restored_round"]),
        helper.make_node("Clip", ["restored_round", "zero", "white"], ["restored_bytes"]),
        helper.make_node("Cast", ["restored_bytes"], [RESTORED], to=TensorProto.UINT8),
    ]


def _activation(
    node: onnx.NodeProto, attributes: Mapping[str, object], initializers: list[onnx.TensorProto]
) -> list[onnx.NodeProto]:
    bits, signed = int(str(attributes["num_bits"])), int(str(attributes["signed"]))
    threshold = float(np.max(np.asarray(attributes["threshold"], dtype=np.float32)))
    name, step = node.output[0], threshold / 2 ** (bits - signed)
    low = -(2 ** (bits - 1)) if signed else 0
    values = {"inverse": 1 / step, "low": low, "high": low + 2**bits - 1, "step": step}
    constants = {key: f"{name}.{key}" for key in values}
    initializers += [
        numpy_helper.from_array(np.float32(value), constants[key]) for key, value in values.items()
    ]
    scaled, whole, held = (f"{name}.{part}" for part in ("scaled", "whole", "held"))
    return [
        helper.make_node("Mul", [node.input[0], constants["inverse"]], [scaled]),
        helper.make_node("Round", [scaled], [whole]),
        helper.make_node("Clip", [whole, constants["low"], constants["high"]], [held]),
        helper.make_node("Mul", [held, constants["step"]], [name]),
    ]


def _weights(
    node: onnx.NodeProto,
    attributes: Mapping[str, object],
    constants: Mapping[str, NDArray[np.float32]],
) -> NDArray[np.float32]:
    """Return s clip(round(w / s)), s = t / 2^(n - 1), with per-channel or per-tensor scales."""
    weights, threshold = constants[node.input[0]], constants[node.input[1]]
    bits, signed = int(str(attributes["num_bits"])), int(str(attributes["signed"]))
    if int(str(attributes["per_channel"])):
        shape = [1] * weights.ndim
        shape[int(str(attributes["channel_axis"]))] = -1
        threshold = threshold.reshape(shape)
    scale = threshold / np.float32(2 ** (bits - signed))
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    rounded: NDArray[np.float32] = np.clip(np.rint(weights / scale), low, high) * scale
    return rounded.astype(np.float32)


def _pruned(model: onnx.ModelProto) -> onnx.ModelProto:
    """Remove nodes and constants that nothing reads, such as the float kernels."""
    read, nodes = {RESTORED}, list[onnx.NodeProto]()
    for node in reversed(model.graph.node):
        if read.intersection(node.output):
            read.update(node.input)
            nodes.insert(0, node)
    kept = onnx.ModelProto()
    kept.CopyFrom(model)
    del kept.graph.node[:]
    del kept.graph.initializer[:]
    kept.graph.node.extend(nodes)
    kept.graph.initializer.extend(t for t in model.graph.initializer if t.name in read)
    onnx.checker.check_model(kept)
    return kept
