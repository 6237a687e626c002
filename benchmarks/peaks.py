"""Multiply-accumulates of a graph, and the most that this machine can do per second.

The peak is measured with chains of 3x3 convolutions that suit a CPU best, in the runtimes under
test. No graph of convolutions exceeds it, so a graph's fraction of the peak shows what can be
gained.
"""

import time
from dataclasses import dataclass
from typing import Literal

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from export.calibration.timing import Feed, ModelRunner
from export.qdq.convolutions import work_of_convolutions
from export.qdq.running import running

Arithmetic = Literal["fp32", "int8"]
_SHAPES = ((128, 64), (256, 48), (512, 32))
"""Channels and side of the convolutions that are tried."""
_LENGTH = 4
_TRIES = 4


@dataclass(frozen=True, kw_only=True)
class Chain:
    """A graph of equal convolutions, and its multiply-accumulates."""

    model: onnx.ModelProto
    feed: Feed
    macs: int
    shape: str


def count_macs(model: onnx.ModelProto) -> int:
    """Return the multiply-accumulates of all convolutions, of a graph with fixed shapes.

    What else ELIR's graphs hold is element-wise.
    """
    return sum(work.macs for work in work_of_convolutions(model).values())


def fastest_chain(arithmetic: Arithmetic, runtime: str, threads: int) -> Chain:
    """Return the chain that a runtime computes at the highest rate."""
    rates: list[tuple[float, Chain]] = []
    for channels, side in _SHAPES:
        chain = make_chain(arithmetic, channels, side)
        with running(chain.model, runtime, threads) as run:
            rates.append((chain.macs / _shortest(run, chain.feed), chain))
    return max(rates, key=lambda pair: pair[0])[1]


def _shortest(run: ModelRunner, feed: Feed) -> float:
    times = []
    for _ in range(_TRIES):
        started = time.perf_counter()
        run(feed)
        times.append(time.perf_counter() - started)
    return min(times)


def make_chain(arithmetic: Arithmetic, channels: int, side: int) -> Chain:
    """Return convolutions in a row, each of as many channels as it reads."""
    rng = np.random.default_rng(0)
    image = rng.random((1, channels, side, side), dtype=np.float32)
    nodes: list[onnx.NodeProto] = []
    # Values keep their size from one convolution to the next: denormal ones would be slow.
    step = np.float32(np.sqrt(2 / (9 * channels)) / 73)
    initializers: list[onnx.TensorProto] = []
    if arithmetic == "int8":
        initializers += [
            numpy_helper.from_array(np.float32(1 / 255), "scale"),
            numpy_helper.from_array(np.uint8(0), "zero"),
            numpy_helper.from_array(np.full(channels, step, np.float32), "weight_scale"),
            numpy_helper.from_array(np.zeros(channels, np.int8), "weight_zero"),
        ]

    def node(kind: str, inputs: list[str], output: str, **attributes: object) -> str:
        nodes.append(helper.make_node(kind, inputs, [output], output, **attributes))
        return output

    def through_levels(name: str) -> str:
        scale = ["scale", "zero"]
        quantized = node("QuantizeLinear", [name, *scale], f"{name}_quantized")
        return node("DequantizeLinear", [quantized, *scale], f"{name}_dequantized")

    value = "x"
    for i in range(_LENGTH):
        levels = rng.integers(-127, 128, (channels, channels, 3, 3)).astype(np.int8)
        if arithmetic == "int8":
            initializers.append(numpy_helper.from_array(levels, f"levels_{i}"))
            scales = [f"levels_{i}", "weight_scale", "weight_zero"]
            weight = node("DequantizeLinear", scales, f"weight_{i}", axis=0)
            value = through_levels(value)
        else:
            weight = f"weight_{i}"
            initializers.append(numpy_helper.from_array(levels.astype(np.float32) * step, weight))
        value = node("Conv", [value, weight], f"conv_{i}", pads=[1, 1, 1, 1])
    node("Relu", [through_levels(value) if arithmetic == "int8" else value], "y")
    shape = list(image.shape)
    graph = helper.make_graph(
        nodes,
        "chain",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        initializers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(model)
    return Chain(
        model=model,
        feed={"x": image},
        macs=_LENGTH * 9 * channels * channels * side * side,
        shape=f"{_LENGTH} x 3x3, {channels} channels, {side} x {side}",
    )
