"""Biases make up for the mean error of each channel (Nagel et al., 2019, section 4.2).

Rounding shifts the mean of what a convolution gives; what comes after adds the shifts up. In order
of computation, each convolution's bias gets the difference between the means of its output in
float32 and in the quantized graph, the ones before it being corrected already.
"""

import copy
from collections.abc import Container, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from export.calibration.timing import Feed
from export.qdq.parts import running_parts, split
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
        model: float32.
        quantized: its Q/DQ form.
        nodes: names of convolutions of both, in order of computation. Left alone are those without
            a bias of their own, and those whose output the quantizer merged with a ReLU's.
        feeds: inputs to take the means on.
        report: told how far it is.
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
        """Correct the bias behind a convolution's output, and the output for what follows."""
        if name not in bias_of:
            return
        got = sum(_means_of(value) for value in values) / len(values)
        shift = (expected[name] - got).astype(np.float32)
        bias = bias_of[name]
        corrected = numpy_helper.to_array(bias) + shift
        bias.CopyFrom(numpy_helper.from_array(corrected, bias.name))
        for value in values:
            value += shift[:, None, None]

    # Copies of the nodes and constants: they keep the biases as they were.
    parts = split(quantized, after=bias_of, watched=bias_of)
    with running_parts(parts, as_written=True) as runner:
        runner.run_together(feeds, correct, report)
    return quantized


def _channel_means(
    model: onnx.ModelProto, outputs: Container[str], feeds: Sequence[Feed], report: Report
) -> Means:
    """Return the mean over images and places of each channel of the named tensors."""
    sums: Means = {}

    def see(name: str, value: NDArray[Any]) -> None:
        if name in outputs:
            sums[name] = sums.get(name, 0) + _means_of(value) / len(feeds)

    with running_parts(split(model, watched=outputs)) as runner:
        for feed in report.each("means in float32", feeds):
            runner.run(feed, see)
    return sums


def _means_of(value: NDArray[Any]) -> NDArray[np.float64]:
    means: NDArray[np.float64] = value.mean(axis=(0, 2, 3), dtype=np.float64)
    return means
