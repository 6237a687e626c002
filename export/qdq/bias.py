"""Bias correction: biases compensate each channel's mean error (Nagel et al., 2019, section 4.2).

Rounding shifts the mean of a convolution's output, and the shifts add up in later layers. In the
order of computation, the difference between the means of each convolution's output in float32 and
in the quantized graph, whose earlier convolutions are already corrected, is added to its bias.
"""

import copy
from collections.abc import Container, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from export.calibration.timing import Feed
from export.qdq.parts import run_together, running_parts, split
from export.reporting import SILENT, Report

Means = dict[str, NDArray[np.float64]]


def correct_biases(
    model: onnx.ModelProto,
    quantized: onnx.ModelProto,
    nodes: Sequence[str],
    feeds: Sequence[Feed],
    report: Report = SILENT,
) -> onnx.ModelProto:
    """Return the quantized graph with the biases of the named convolutions corrected.

    Args:
        model: the float32 graph.
        quantized: its Q/DQ form; it is not changed.
        nodes: names of convolutions of both, in the order of computation. Convolutions without a
            bias of their own, and those whose output the quantizer merged with that of a ReLU, are
            left unchanged.
        feeds: inputs to compute the means on.
        report: receives the progress.
    """
    quantized = copy.deepcopy(quantized)
    initializers = {tensor.name: tensor for tensor in quantized.graph.initializer}
    wanted = {node.name: node for node in model.graph.node if node.name in set(nodes)}
    found = {node.name: node for node in quantized.graph.node if node.name in wanted}
    uses = [name for node in quantized.graph.node for name in node.input]
    correctable = [
        name
        for name in nodes
        if name in found
        and len(found[name].input) > 2
        and found[name].input[2] in initializers
        and uses.count(found[name].input[2]) == 1
        and found[name].output[0] == wanted[name].output[0]
    ]
    bias_of = {wanted[name].output[0]: initializers[found[name].input[2]] for name in correctable}
    if not bias_of:
        return quantized
    expected = _channel_means(model, bias_of, feeds, report)

    def correct(name: str, values: list[NDArray[Any]]) -> None:
        """Correct the bias of a convolution, and its output for the next parts."""
        if name not in bias_of:
            return
        got = sum(_means_of(value) for value in values) / len(values)
        shift = (expected[name] - got).astype(np.float32)
        bias = bias_of[name]
        corrected = numpy_helper.to_array(bias) + shift
        bias.CopyFrom(numpy_helper.from_array(corrected, bias.name))
        for value in values:
            value += shift[:, None, None]

    # The parts are copies of the nodes and constants, so they keep the original biases.
    parts = split(quantized, after=bias_of, watched=bias_of)
    run_together(parts, feeds, correct, report, as_written=True)
    return quantized


def _channel_means(
    model: onnx.ModelProto, outputs: Container[str], feeds: Sequence[Feed], report: Report
) -> Means:
    """Return the mean of each channel (C,) over images and pixels, for the named tensors."""
    sums: Means = {}

    def add_means(name: str, value: NDArray[Any]) -> None:
        if name in outputs:
            sums[name] = sums.get(name, 0) + _means_of(value) / len(feeds)

    with running_parts(split(model, watched=outputs)) as runner:
        for feed in report.each("means in float32", feeds):
            runner.run(feed, add_means)
    return sums


def _means_of(value: NDArray[Any]) -> NDArray[np.float64]:
    means: NDArray[np.float64] = value.mean(axis=(0, 2, 3), dtype=np.float64)
    return means
