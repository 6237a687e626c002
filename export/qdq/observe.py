"""What the tensors of a float32 ONNX graph hold on calibration crops."""

import copy
from collections import defaultdict
from collections.abc import Iterable, Mapping

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from export.calibration.ranges import SAMPLE, Observed, Range, summarize
from export.calibration.timing import Feed
from export.qdq.running import running


def observe(model: onnx.ModelProto, feeds: Iterable[Feed]) -> dict[str, Observed]:
    """Run a float32 graph and return what its inputs and the outputs of its nodes hold.

    Extremes and samples are taken inside the graph, so that memory does not grow with the image.
    """
    names = [value.name for value in model.graph.input]
    names += [output for node in model.graph.node for output in node.output]
    extremes: dict[str, list[Range]] = defaultdict(list)
    samples: dict[str, list[NDArray[np.float32]]] = defaultdict(list)
    with running(_with_probes(model, names)) as run:
        for feed in feeds:
            results = run(feed)
            for name in names:
                low, high = results[f"{name}/min"], results[f"{name}/max"]
                extremes[name].append((float(low), float(high)))
                samples[name].append(results[f"{name}/sample"])
    lows = {name: min(low for low, _ in pairs) for name, pairs in extremes.items()}
    highs = {name: max(high for _, high in pairs) for name, pairs in extremes.items()}
    return summarize(lows, highs, _floors(model, lows, highs), samples)


def _with_probes(model: onnx.ModelProto, names: list[str]) -> onnx.ModelProto:
    """Return the graph with three outputs per tensor: least, greatest, evenly spaced sample."""
    inferred = onnx.shape_inference.infer_shapes(model)
    graph = inferred.graph
    shapes = {
        value.name: [d.dim_value for d in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.value_info, *graph.output)
    }
    probed = copy.deepcopy(model)
    del probed.graph.output[:]
    constants = {"flat": [-1], "start": [0], "end": [np.iinfo(np.int64).max]}
    for name, values in constants.items():
        tensor = numpy_helper.from_array(np.array(values, np.int64), f"probe/{name}")
        probed.graph.initializer.append(tensor)
    for name in names:
        # Odd, so that it does not fall into step with rows of 2^n pixels.
        stride = np.array([int(np.prod(shapes[name])) // SAMPLE | 1], np.int64)
        probed.graph.initializer.append(numpy_helper.from_array(stride, f"{name}/stride"))
        least, greatest, sample = (f"{name}/{kind}" for kind in ("min", "max", "sample"))
        slicing = [f"{name}/flat", "probe/start", "probe/end", "probe/start", f"{name}/stride"]
        probed.graph.node.extend(
            [
                helper.make_node("ReduceMin", [name], [least], keepdims=0),
                helper.make_node("ReduceMax", [name], [greatest], keepdims=0),
                helper.make_node("Reshape", [name, "probe/flat"], [f"{name}/flat"]),
                helper.make_node("Slice", slicing, [sample]),
            ]
        )
        probed.graph.output.extend(
            helper.make_tensor_value_info(output, TensorProto.FLOAT, shape)
            for output, shape in ((least, []), (greatest, []), (sample, None))
        )
    return probed


def _floors(
    model: onnx.ModelProto, lows: Mapping[str, float], highs: Mapping[str, float]
) -> dict[str, float]:
    """Return -max(x) for each h whose only use is relu(x + h)."""
    readers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
    for node in model.graph.node:
        for name in node.input:
            readers[name].append(node)
    floors = {}
    for node in model.graph.node:
        followers = readers[node.output[0]]
        if node.op_type != "Add" or [f.op_type for f in followers] != ["Relu"]:
            continue
        for branch, other in (node.input, reversed(node.input)):
            if len(readers[branch]) == 1 and other in highs:
                floors[branch] = min(max(lows[branch], -highs[other]), highs[branch])
    return floors
