"""Biases make up for the mean error of each channel (Nagel et al., 2019, section 4.2).

Rounding shifts the mean of what a convolution gives; what comes after adds the shifts up. In order
of computation, each convolution's bias gets the difference between the means of its output in
float32 and in the quantized graph, the ones before it being corrected already.
"""

import copy
from collections.abc import Sequence

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from export.calibration.timing import Feed
from export.qdq.running import watching

Means = dict[str, NDArray[np.float64]]


def correct_biases(
    model: onnx.ModelProto,
    quantized: onnx.ModelProto,
    nodes: Sequence[str],
    feeds: Sequence[Feed],
) -> onnx.ModelProto:
    """Return the quantized graph with the biases of the named convolutions corrected.

    Args:
        model: float32.
        quantized: its Q/DQ form.
        nodes: names of convolutions of both, in order of computation. Left alone are those without
            a bias of their own, and those whose output the quantizer merged with a ReLU's.
        feeds: inputs to take the means on.
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
    outputs = [wanted[name].output[0] for name in correctable]
    if not outputs:
        return quantized
    expected = _channel_means(model, outputs, feeds)
    for name in correctable:
        output = wanted[name].output[0]
        got = _channel_means(quantized, [output], feeds)
        bias = initializers[found[name].input[2]]
        corrected = numpy_helper.to_array(bias) + expected[output] - got[output]
        bias.CopyFrom(numpy_helper.from_array(corrected.astype(np.float32), bias.name))
    return quantized


def _channel_means(model: onnx.ModelProto, outputs: Sequence[str], feeds: Sequence[Feed]) -> Means:
    """Return the mean over images and places of each channel of the named tensors."""
    sums: Means = {}
    with watching(model, outputs) as run:
        for feed in feeds:
            values = run(feed)
            for name in outputs:
                mean = values[name].mean(axis=(0, 2, 3), dtype=np.float64)
                sums[name] = sums.get(name, 0) + mean / len(feeds)
    return sums
