"""Observation of a float32 ONNX graph's tensors on calibration crops."""

import copy
import functools
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from export.calibration.ranges import (
    ActivationRange,
    TensorStatistics,
    sample_size,
    sample_stride,
    summarize,
)
from export.calibration.timing import Feed
from export.onnx_graph.shapes import tensor_types
from export.qdq.parts import running_parts, split
from export.reporting import SILENT, Report


def observe(
    model: onnx.ModelProto, feeds: Sequence[Feed], report: Report = SILENT
) -> dict[str, TensorStatistics]:
    """Run a float32 graph and return the observed values of its inputs and its nodes' outputs.

    Extremes and samples are computed inside the graph, part by part, so that whole tensors are
    neither collected for all nodes nor for all crops.

    Args:
        model: the float32 graph, with fixed shapes.
        feeds: its inputs for each crop.
        report: receives the progress.

    Returns:
        The observed values by tensor name.
    """
    extremes: dict[str, list[ActivationRange]] = defaultdict(list)
    samples: dict[str, list[NDArray[np.float32]]] = defaultdict(list)

    def collect(name: str, value: NDArray[Any]) -> None:
        tensor, slash, kind = name.rpartition("/")
        if slash and kind == "extremes":
            extremes[tensor].append((float(value[0]), float(value[1])))
        elif slash and kind == "sample":
            samples[tensor].append(value)

    waiting = {value.name for value in model.graph.input}
    probed = []
    parts = split(model)
    count = sample_size(len(waiting) + sum(len(part.computed) for part in parts), len(feeds))
    for part in parts:
        first_read = [name for name in part.inputs if name in waiting]
        waiting.difference_update(first_read)
        probed.append(
            replace(part, model=_with_probes(part.model, [*first_read, *part.computed], count))
        )
    text = f"observing activations on {len(feeds)} crops"
    with running_parts(probed) as runner:
        for feed in report.each(text, feeds):
            runner.run(feed, collect)
    return summarize(extremes, samples, functools.partial(_floors, model))


def _with_probes(model: onnx.ModelProto, names: Sequence[str], count: int) -> onnx.ModelProto:
    """Return the graph with two additional outputs for each named tensor: extremes and a sample.

    The extremes are (minimum, maximum); the sample is evenly spaced, at most `count` values.
    """
    types = tensor_types(model)
    probed = copy.deepcopy(model)
    constants = {"flat": [-1], "start": [0], "end": [np.iinfo(np.int64).max]}
    for name, values in constants.items():
        tensor = numpy_helper.from_array(np.array(values, np.int64), f"probe/{name}")
        probed.graph.initializer.append(tensor)
    for name in names:
        stride = np.array([sample_stride(math.prod(types[name][1]), count)], np.int64)
        probed.graph.initializer.append(numpy_helper.from_array(stride, f"{name}/stride"))
        flat, least, greatest = (f"{name}/{kind}" for kind in ("flat", "least", "greatest"))
        extremes, sample = f"{name}/extremes", f"{name}/sample"
        slicing = [flat, "probe/start", "probe/end", "probe/start", f"{name}/stride"]
        probed.graph.node.extend(
            [
                helper.make_node("Reshape", [name, "probe/flat"], [flat]),
                helper.make_node("ReduceMin", [flat], [least], keepdims=1),
                helper.make_node("ReduceMax", [flat], [greatest], keepdims=1),
                helper.make_node("Concat", [least, greatest], [extremes], axis=0),
                helper.make_node("Slice", slicing, [sample]),
            ]
        )
        probed.graph.output.extend(
            helper.make_tensor_value_info(output, TensorProto.FLOAT, shape)
            for output, shape in ((extremes, [2]), (sample, None))
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
