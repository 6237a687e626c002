"""A speed estimate for a GPU that is not available: no graph can be faster than its roofline.

    seconds >= max(2 * macs / peak operations per second, bytes moved / bytes per second)

The bytes are each convolution's input, weights and output, counted once: in the best case, all
operations between convolutions are fused. It is unknown what fraction of this a real GPU reaches;
an estimate is not a measurement and is never presented as one.
"""

from dataclasses import dataclass

import numpy as np
import onnx

from benchmarks.peaks import count_macs
from export.onnx_graph.shapes import tensor_types


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """Public peak figures of a GPU.

    Attributes:
        name: as sold.
        tflops: peak 10^12 operations a second, by arithmetic.
        gb_per_s: memory bandwidth.
    """

    name: str
    tflops: dict[str, float]
    gb_per_s: float


RTX_2080_TI = Gpu(
    name="RTX 2080 Ti",
    # fp16 on tensor cores with sums in fp32; 107 with sums in fp16, which costs accuracy.
    tflops={"fp32": 13.4, "fp16": 53.8},
    gb_per_s=616.0,
)
"""Of the reference card: 4352 cores x 2 x 1.545 GHz; 352 bits at 14 Gbit/s. The tensor cores'
figure was not checked against the vendor's paper."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """The least time that a roofline allows, and how it was reckoned."""

    milliseconds: float
    formula: str


def estimate(model: onnx.ModelProto, gpu: Gpu, arithmetic: str) -> Estimate:
    """Return the roofline of a float32 graph's convolutions in an arithmetic of a GPU."""
    macs, values = count_macs(model), count_values(model)
    width = 4 if arithmetic == "fp32" else 2
    tflops = gpu.tflops[arithmetic]
    computing = 2 * macs / (tflops * 1e12)
    moving = values * width / (gpu.gb_per_s * 1e9)
    formula = (
        f"max(2 x {macs / 1e9:.1f} GMAC / {tflops:g} TFLOP/s, "
        f"{values * width / 1e9:.3f} GB / {gpu.gb_per_s:g} GB/s)"
    )
    return Estimate(milliseconds=1000 * max(computing, moving), formula=formula)


def count_values(model: onnx.ModelProto) -> int:
    """Return how many values all convolutions read and write."""
    types = tensor_types(model)
    return sum(
        int(np.prod(types[name][1]))
        for node in model.graph.node
        if node.op_type in ("Conv", "ConvTranspose")
        for name in (*node.input, *node.output)
        if name
    )
