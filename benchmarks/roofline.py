"""Speed estimates for chips that are not available, by rooflines of their convolutions.

    seconds = max(2 * macs / peak operations per second, bytes moved / bytes per second)

The bytes are each convolution's input, weights and output, counted once: all operations between
convolutions are fused, and every convolution reads and writes memory. The first term is a bound
where the peak is the chip's own; the second is none for results that stay in a cache. What fraction
a real chip reaches is unknown, so that an estimate is not a measurement and is never presented as
one. `CHIPS` says for each figure where it is from, and what of it was not checked against the
maker's own document.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx

from benchmarks.peaks import count_macs
from benchmarks.sensor import MACS_PER_SECOND
from elir_edge.model import Elir
from export.onnx_graph.shapes import tensor_types
from export.targets.imx500.fit import estimate as sensor_fit

_WIDTHS = {"fp32": 4, "fp16": 2, "int8": 1}
"""Bytes of a value."""
_A78_CORES, _A78_HERTZ, _PIPES = 2, 2.2e9, 2
"""Snapdragon 695's fast cores, and their pipes of 128 bits."""


@dataclass(frozen=True, kw_only=True)
class Chip:
    """Public peak figures of a chip.

    Attributes:
        name: as sold.
        tops: peak 10^12 operations a second without sparsity, by arithmetic; a multiply-accumulate
            is two.
        gb_per_s: memory bandwidth; None: what fits stays on the chip.
        source: where the figures are from.
    """

    name: str
    tops: Mapping[str, float]
    gb_per_s: float | None
    source: str


RTX_2080_TI = Chip(
    name="RTX 2080 Ti",
    # fp16 on tensor cores with sums in fp32; twice that with sums in fp16, which costs accuracy.
    tops={"fp32": 13.4, "fp16": 53.8, "int8": 215.2},
    gb_per_s=616.0,
    source="NVIDIA, Turing architecture whitepaper, reference card: 4352 cores x 2 x 1.545 GHz, "
    "544 tensor cores, 352 bits at 14 Gbit/s; others' fp16 matrix products reached 53.4 on it",
)
JETSON_AGX_ORIN = Chip(
    name="Jetson AGX Orin 64 GB, GPU",
    tops={"fp32": 5.3, "fp16": 42.5, "int8": 85.0},
    gb_per_s=204.8,
    source="NVIDIA, Jetson AGX Orin Series technical brief: 2048 cores with 5.3 TFLOPS, 64 tensor "
    "cores with 170 TOPS of int8 if half of the weights are zero, halved here; fp16 half of int8",
)
FLAGSHIP_PHONE = Chip(
    name="phone, flagship of 2025: Galaxy S25, NPU",
    tops={"int8": 2 * 23.1},
    gb_per_s=84.8,
    source="23.1 TMAC/s is what Qualcomm AI Hub measured for another network, RRDBNet "
    "(real_esrgan_x4plus, w8a8), and so what a plain wide network reaches; any operation that "
    "falls back to the CPU breaks the estimate; LPDDR5X at 5300 MHz by press reports",
)
MIDDLE_PHONE = Chip(
    name="phone, middle class: Snapdragon 695, two Cortex-A78",
    tops={
        "fp32": 2e-12 * _A78_CORES * _A78_HERTZ * _PIPES * 4,
        "fp16": 2e-12 * _A78_CORES * _A78_HERTZ * _PIPES * 8,
        "int8": 2e-12 * _A78_CORES * _A78_HERTZ * _PIPES * 16,
    },
    gb_per_s=17.1,
    source="2 cores x 2.2 GHz (device trees) x 2 pipes of 128 bits, with dot products of int8 "
    "(Arm, Cortex-A78 software optimization guide, not at hand); LPDDR4X at 2133 MHz, a bus of 32 "
    "bits assumed",
)
IMX500 = Chip(
    name="IMX500",
    tops={"int8": 2e-12 * MACS_PER_SECOND},
    gb_per_s=None,
    source="Eki et al., ISSCC 2021, 9.6: 2304 multiply-accumulators x 262.5 MHz (the two figures "
    "were not checked in the paper); memory by `export.targets.imx500.fit`",
)
CHIPS = (RTX_2080_TI, JETSON_AGX_ORIN, FLAGSHIP_PHONE, MIDDLE_PHONE, IMX500)


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A roofline's time, and how it was reckoned; or the reason for none."""

    chip: str
    arithmetic: str
    source: str
    milliseconds: float | None = None
    fps: float | None = None
    formula: str | None = None
    reason: str | None = None


def estimate(model: onnx.ModelProto, chip: Chip, arithmetic: str) -> Estimate:
    """Return the roofline of a float32 graph's convolutions in an arithmetic of a chip."""
    macs, values = count_macs(model), count_values(model)
    tops = chip.tops[arithmetic]
    seconds = 2 * macs / (tops * 1e12)
    formula = f"2 x {macs / 1e9:.2f} GMAC / {tops:.4g} TOP/s"
    if chip.gb_per_s is not None:
        moved = values * _WIDTHS[arithmetic]
        seconds = max(seconds, moved / (chip.gb_per_s * 1e9))
        formula = f"max({formula}, {moved / 1e9:.3f} GB / {chip.gb_per_s:g} GB/s)"
    return Estimate(
        chip=chip.name,
        arithmetic=arithmetic,
        source=chip.source,
        milliseconds=1000 * seconds,
        fps=1 / seconds,
        formula=formula,
    )


def estimates(graph: onnx.ModelProto, model: Elir, size: int) -> list[Estimate]:
    """Return the rooflines of all chips in all their arithmetics.

    Args:
        graph: the exported float32 graph.
        model: the network that it was made from.
        size: side of its input, in pixels.
    """
    found = []
    fit = sensor_fit(model, size)
    for chip in CHIPS:
        for arithmetic in chip.tops:
            if chip is IMX500 and not fit.fits:
                found.append(_too_large(arithmetic, str(fit)))
            else:
                found.append(estimate(graph, chip, arithmetic))
    return found


def _too_large(arithmetic: str, lines: str) -> Estimate:
    """Return why a model does not run on the sensor: the lines that tell its memory and fit."""
    told = "; ".join(" ".join(line.split()) for line in lines.splitlines()[3:])
    return Estimate(chip=IMX500.name, arithmetic=arithmetic, source=IMX500.source, reason=told)


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
