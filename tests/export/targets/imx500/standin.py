"""Stands for the sensor's tools, which are not installed: a quantizer and a converter in miniature.

The quantizer's file has MCT's form (its operators, its domain, bytes as multiples of 1/256), so
that everything behind the tools runs as it does with them.
"""

import json
import subprocess
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

from elir_edge.data.operations import to_uint8
from export.onnx_graph.to_onnx import IMAGE, RESTORED, to_shipped_graph
from export.plan import to_probe_graph  # there, tests remember what was converted before
from export.targets.imx500.handover import take_over
from export.targets.imx500.mct import QUANTIZED
from export.targets.imx500.worker import CHECK, IMAGES

DOMAIN = "mct_quantizers"
PARAMETERS = """<dnnParams><networks><network>
<inputTensors><inputTensor name="input" bitsPerElement="8" shift="0" scale="0.00390625"
 format="unsigned"><dimensions><dimension size="3" serializationOrder="2"/>
<dimension size="64" serializationOrder="0"/></dimensions></inputTensor></inputTensors>
<outputTensors><outputTensor name="output" bitsPerElement="8" shift="0" scale="0.00390625"
 format="unsigned"><dimensions><dimension size="3" serializationOrder="1"/></dimensions>
</outputTensor></outputTensors></network></networks></dnnParams>"""
REPORT = {
    "Memory Report": {
        "Runtime Memory Physical Size": "4.00MB",
        "Model Memory Physical Size": "512.00KB",
        "Memory Usage": "4.50MB",
        "Total Memory Available On Chip": "8.00MB",
        "Fit In Chip": True,
    }
}
FIRMWARE = ("manifest.json", "dnnParams.xml", "l2staticData.bin", "cfgA.bin", "verTable.txt")


def quantized_activation(source: str, result: str, bits: int, signed: int, threshold: float) -> Any:
    """Return a quantizer of activations as MCT writes it."""
    return helper.make_node(
        "ActivationPOTQuantizer",
        [source],
        [result],
        domain=DOMAIN,
        num_bits=bits,
        signed=signed,
        threshold=threshold,
    )


def quantized_kernel(
    source: str,
    threshold: str,
    result: str,
    *,
    bits: int = 8,
    signed: int = 1,
    per_channel: int = 1,
    axis: int = 0,
) -> Any:
    """Return a quantizer of weights as MCT writes it."""
    return helper.make_node(
        "WeightsSymmetricQuantizer",
        [source, threshold],
        [result],
        domain=DOMAIN,
        num_bits=bits,
        signed=signed,
        per_channel=per_channel,
        channel_axis=axis,
    )


def quantized_form(shipped: onnx.ModelProto, *, bits: int = 8, tint: float = 0.0) -> Any:
    """Return a float graph (1, 3, S, S) in [0, 1] with its kernels quantized, in MCT's form.

    Args:
        shipped: the float graph.
        bits: of the kernels.
        tint: added to the last convolution's first bias, as rounding shifts a colour's mean.
    """
    graph = shipped.graph
    values = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    constants = {"to_byte": np.float32(256 / 255), "from_byte": np.float32(255 / 256)}
    nodes = [
        quantized_activation("input", "read", 8, 0, 1.0),
        helper.make_node("Mul", ["read", "to_byte"], ["image_in_float"]),
    ]
    for node in graph.node:
        node.input[:] = ["image_in_float" if name == IMAGE else name for name in node.input]
        node.output[:] = ["in_float" if name == RESTORED else name for name in node.output]
        if node.op_type in ("Conv", "ConvTranspose"):
            weights, axis = values[node.input[1]], int(node.op_type == "ConvTranspose")
            others = tuple(i for i in range(4) if i != axis)
            largest = np.maximum(np.abs(weights).max(others), 1e-3)
            threshold, name = f"{node.output[0]}.t", f"{node.output[0]}.k"
            constants[threshold] = 2 ** np.ceil(np.log2(largest)).astype(np.float32)
            nodes.append(quantized_kernel(node.input[1], threshold, name, bits=bits, axis=axis))
            # Each step has kernels of its own, as MCT writes them.
            node.input[1], last = name, node
            result = node.output[0]
            node.output[0] = f"{result}.wide"
            nodes += [node, quantized_activation(node.output[0], result, 16, 1, 64.0)]
        else:
            nodes.append(node)
    if len(last.input) == 2:  # biases of zero were left out
        last.input.append("last.bias")
        values["last.bias"] = np.zeros(3, np.float32)
    values[last.input[2]] = values[last.input[2]] + np.array([tint, 0, 0], np.float32)
    nodes += [
        helper.make_node("Mul", ["in_float", "from_byte"], ["written"]),
        quantized_activation("written", "output", 8, 0, 1.0),
    ]
    size = graph.input[0].type.tensor_type.shape.dim[-1].dim_value
    return quantized_graph(nodes, values | constants, size)


def quantized_graph(
    nodes: Sequence[onnx.NodeProto], tensors: Mapping[str, np.ndarray], size: int
) -> onnx.ModelProto:
    """Return a graph from `input` to `output`, both (1, 3, size, size), with MCT's operators."""
    shape = [1, 3, size, size]
    return helper.make_model(
        helper.make_graph(
            nodes,
            "g",
            [helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info("output", TensorProto.FLOAT, shape)],
            [numpy_helper.from_array(v.astype(np.float32), k) for k, v in tensors.items()],
        ),
        opset_imports=[helper.make_opsetid("", 20), helper.make_opsetid(DOMAIN, 1)],
    )


def _on_grid(values: Any, threshold: Any, bits: int, signed: int) -> tuple[np.ndarray]:
    """Round to the steps t / 2^(bits - signed), and clip to the levels that there are."""
    step = threshold / 2 ** (bits - signed)
    low = -(2 ** (bits - 1)) * signed
    clipped = np.clip(np.rint(values / step), low, low + 2**bits - 1)
    return ((clipped * step).astype(np.float32),)


class ActivationPOTQuantizer(OpRun):  # type: ignore[misc]
    """MCT's operator, by its definition."""

    op_domain = DOMAIN

    def _run(self, x: Any, num_bits: int = 0, signed: int = 0, threshold: float = 0) -> Any:
        return _on_grid(x, threshold, num_bits, signed)


class WeightsSymmetricQuantizer(OpRun):  # type: ignore[misc]
    """MCT's operator, by its definition."""

    op_domain = DOMAIN

    def _run(
        self,
        weights: Any,
        threshold: Any,
        num_bits: int = 0,
        signed: int = 0,
        per_channel: int = 0,
        channel_axis: int = 0,
    ) -> Any:
        if per_channel:
            others = [i for i in range(weights.ndim) if i != channel_axis]
            threshold = np.expand_dims(threshold, others)
        return _on_grid(weights, threshold, num_bits, signed)


def evaluate(model: onnx.ModelProto, image: np.ndarray) -> np.ndarray:
    """Run MCT's form on an image, float32 (1, 3, H, W) in multiples of 1/256."""
    operators = [ActivationPOTQuantizer, WeightsSymmetricQuantizer]
    restored: np.ndarray = ReferenceEvaluator(model, new_ops=operators).run(None, {"input": image})[
        0
    ]
    return restored


@dataclass
class Quantizer:
    """Stands for the process of the worker.

    Attributes:
        bits: of the kernels.
        tint: see `quantized_form`.
        error: how far the image that is to be compared with is wrong.
        calls: the commands that were run.
        seen: the images that it was given.
    """

    bits: int = 8
    tint: float = 0.0
    error: float = 0.0
    calls: list[tuple[Sequence[str], dict[str, Any]]] = field(default_factory=list)
    seen: np.ndarray | None = None

    def run(self, command: Sequence[str], **options: Any) -> subprocess.CompletedProcess[str]:
        """Do what `worker.py` does."""
        self.calls.append((command, options))
        folder = Path(command[-1])
        images = np.load(folder / IMAGES)
        self.seen = images
        image = np.ascontiguousarray(images[0].transpose(2, 0, 1)[None])
        static = take_over(folder)
        probe = to_probe_graph(static, torch.from_numpy(image), None)
        model = quantized_form(to_shipped_graph(probe, {}), bits=self.bits, tint=self.tint)
        onnx.save(model, folder / QUANTIZED)
        read = to_uint8(images[0])[None]
        restored = evaluate(model, read.transpose(0, 3, 1, 2).astype(np.float32) / 256)
        np.savez(folder / CHECK, image=read, restored=restored + np.float32(self.error))
        return subprocess.CompletedProcess(command, 0, "", "")


def install_converter(folder: Path) -> Path:
    """Return an environment whose converter writes a whole output, and more than is wanted."""
    source = write_output(folder / "source", report=REPORT, files=FIRMWARE, parameters=PARAMETERS)
    (source / "log.txt").write_text("much")
    return copying_converter(folder, source)


def copying_converter(folder: Path, source: Path) -> Path:
    """Return an environment whose converter copies what lies in `source`."""
    script = folder / "bin" / "imxconv-pt"
    script.parent.mkdir(parents=True)
    script.write_text(
        f'#!/bin/sh\nwhile [ "$1" != -o ]; do shift; done\nmkdir "$2" && cp {source}/* "$2"\n'
        'echo "12:00 ERROR : unsupported layer"\n'
    )
    script.chmod(0o755)
    return folder


def write_output(
    folder: Path,
    *,
    report: Mapping[str, object],
    files: Sequence[str] | None,
    parameters: str = "<dnnParams/>",
) -> Path:
    """Write what the converter writes; without files, no zip."""
    folder.mkdir(parents=True)
    (folder / "elir_MemoryReport.json").write_text(json.dumps(report))
    (folder / "dnnParams.xml").write_text(parameters)
    if files is not None:
        with zipfile.ZipFile(folder / "packerOut.zip", "w") as archive:
            for name in files:
                archive.writestr(name, "x")
    return folder
