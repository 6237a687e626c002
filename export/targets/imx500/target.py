"""Sony's IMX500: an image sensor with a network processor of 8 MB on its chip."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from elir_edge.data.operations import to_uint8
from elir_edge.errors import UsageError
from elir_edge.model import Elir
from elir_edge.runtime.backends import open_backend
from elir_edge.runtime.manifest import Check, Precision, TargetRecord, TensorSpec
from export.calibration.judge import Judge, feed_of
from export.calibration.photos import digest_of
from export.calibration.timing import Feed, ModelRunner
from export.int8.gates import gate_checks, require_gates
from export.onnx_graph.to_onnx import IMAGE, RESTORED, to_shipped_graph
from export.parity import MIN_PSNR_EMULATION, check_psnr, require
from export.qdq.running import running
from export.reporting import Report
from export.targets.base import EmittedArtifact, FitEstimate, Graph, refuse_device
from export.targets.imx500.convert import CHIP_BYTES, REPORT, ZIP, Memory, convert
from export.targets.imx500.emulate import to_emulation
from export.targets.imx500.environment import (
    CONVERTER,
    QUANTIZER,
    environment,
    locked_version,
    require_java,
)
from export.targets.imx500.fit import estimate
from export.targets.imx500.handover import DESCRIPTION, WEIGHTS, ModelDescription
from export.targets.imx500.mct import LEVELS, QUANTIZED
from export.targets.imx500.mean import mean_shift, without_shift
from export.targets.imx500.quantizing import quantize
from export.targets.imx500.usage import intrinsics, tensors, usage
from export.targets.imx500.worker import CHECK, IMAGES

RUNTIME = "onnxruntime"
EMULATION = "emulation.onnx"
NUM_CROPS = 32
"""Calibration crops for the quantizer, which keeps a histogram of every tensor for each crop."""
_MEAN_CROPS = 16


@dataclass(frozen=True, kw_only=True)
class _QuantizedModel:
    """Results of `quantize`, beside the files that it wrote.

    Attributes:
        precision: the manifest's record, with the crops that the quantizer used.
        shared: number of constants that were merged with equal ones.
        emulation_check: check that the emulation agrees with the quantizer's own operators.
        gate_judge: computes the int8 quality on the gate crops.
    """

    precision: Precision
    shared: int
    emulation_check: Check
    gate_judge: Judge


class Imx500Target:
    """Inputs and outputs are uint8 images, channels last; the noise is part of the network."""

    name = "imx500"
    title = "Sony IMX500 (Raspberry Pi AI Camera, AITRIOS): inside the image sensor"
    own_variant: str | None = "sensor"
    precisions = ("int8",)
    rewrites: Mapping[str, tuple[str, ...]] = {"int8": ("fold_scales", "fold_projections")}

    def check(self, *, precision: str, device: str | None, noise: str, batch: int) -> None:
        """Require a batch of 1, noise that is not an input, and Java; refuse a device."""
        refuse_device(self.name, device)
        if noise == "input" or batch != 1:
            raise UsageError(
                "the sensor feeds its network one image and nothing else",
                got=f"noise {noise!r}, batch {batch}",
                expected="noise constant or zero, batch 1",
            )
        require_java()

    def fit(self, model: Elir, size: int) -> FitEstimate:
        """Estimate the memory that the model takes on the chip."""
        return estimate(model, size)

    def quantize(self, graph: Graph, folder: Path, report: Report) -> _QuantizedModel:
        """Write the quantized network, and its emulation for ONNX Runtime, into `folder`.

        Raises:
            ExportError: the quantizer fails.
            ParityError: the emulation differs from the quantizer's own operators.
        """
        assert graph.calibration is not None
        size, path, emulation = graph.image.shape[-1], folder / QUANTIZED, folder / EMULATION
        crops = [crop.degraded for crop in graph.calibration.ranges[:NUM_CROPS]]
        description = ModelDescription(config=graph.config, rewrites=graph.rewrites, size=size)
        shared = quantize(graph.static, description, crops, folder, report)
        onnx.save(to_emulation(onnx.load(path), size), emulation)
        emulation_check = _compare_with_quantizer(emulation, folder / CHECK)
        with running(to_shipped_graph(graph.probe, graph.description), RUNTIME) as run:
            _correct_mean(graph, run, path, emulation)
            gate_judge = Judge(graph.calibration.gates, 1, None, run)
        return _QuantizedModel(
            precision=Precision(
                name=graph.precision,
                calibration_sha256=digest_of(crops),
                calibration_count=len(crops),
            ),
            shared=shared,
            emulation_check=emulation_check,
            gate_judge=gate_judge,
        )

    def emit(
        self, graph: Graph, quantized: _QuantizedModel, folder: Path, report: Report
    ) -> EmittedArtifact:
        """Convert the quantized network for the sensor.

        Raises:
            ExportError: the converter fails, or the model does not fit.
        """
        size, path, emulation = graph.image.shape[-1], folder / QUANTIZED, folder / EMULATION
        tools = environment(CONVERTER, report)
        report("converting for the sensor")
        out = folder / "converted"
        memory, parameters = convert(tools, path, out)
        for name in (ZIP, REPORT):
            (out / name).rename(folder / name)
        _write(folder / "description.json", tensors(parameters["dnnParams.xml"]))
        _write(folder / "intrinsics.json", intrinsics())
        _discard(folder, out)
        return EmittedArtifact(
            artifact=emulation,
            inputs=(_spec(IMAGE, size),),
            outputs=(_spec(RESTORED, size),),
            precision=quantized.precision,
            target=_record(memory, quantized.shared, emulation.name),
            extra_files={
                folder / ZIP: "sensor firmware",
                path: "quantized model",
                folder / REPORT: "documentation",
                folder / "description.json": "documentation",
                folder / "intrinsics.json": "documentation",
            },
        )

    def verify(
        self, graph: Graph, quantized: _QuantizedModel, emitted: EmittedArtifact, report: Report
    ) -> list[Check]:
        """Check the emulation on crops that were not used for quantization."""
        quality = quantized.gate_judge(_running_bytes(emitted.artifact), report)
        checks = gate_checks("the sensor's emulation", quality)
        if graph.enforce_gates:
            require_gates(
                "the network quantized for the sensor",
                checks,
                fix="use a checkpoint of the `sensor` preset, which is trained with the chip's "
                "rounding, or calibrate on photos like those of the application "
                "(--calibration DIR)",
            )
        return [quantized.emulation_check, *checks]

    def readme(self, graph: Graph, emitted: EmittedArtifact) -> str:
        """Return the instructions for a Raspberry Pi."""
        memory = Memory(**emitted.target.details["memory"])
        return usage(graph.image.shape[-1], graph.task, memory, graph.description["name"])


def _compare_with_quantizer(emulation: Path, check: Path) -> Check:
    """Compare the emulation with the quantizer's own operators on one image."""
    with np.load(check) as arrays:
        image, restored = arrays["image"], arrays["restored"]
    read = open_backend(RUNTIME, emulation, None).run({IMAGE: image})
    got = read[RESTORED].transpose(0, 3, 1, 2).astype(np.float32) / np.float32(LEVELS)
    reference, limit = "the quantizer's operators", MIN_PSNR_EMULATION
    return require([check_psnr("emulation", RESTORED, reference, restored, got, limit)])[0]


def _correct_mean(graph: Graph, run: ModelRunner, path: Path, emulation: Path) -> None:
    """Remove the shift of the mean colour from both files."""
    assert graph.calibration is not None
    feeds = [feed_of(crop, 1, None) for crop in graph.calibration.ranges[:_MEAN_CROPS]]
    run_bytes = _running_bytes(emulation)
    shift = mean_shift(
        [run(feed)[RESTORED][0] for feed in feeds], [run_bytes(feed)[RESTORED][0] for feed in feeds]
    )
    model = without_shift(onnx.load(path), shift)
    onnx.save(model, path)
    onnx.save(to_emulation(model, graph.image.shape[-1]), emulation)


def _running_bytes(emulation: Path) -> ModelRunner:
    """Return a function that runs the emulation on float images (1, 3, H, W) in [0, 1]."""
    backend = open_backend(RUNTIME, emulation, None)

    def run(feed: Feed) -> Mapping[str, NDArray[np.float32]]:
        outputs = backend.run({IMAGE: to_uint8(feed[IMAGE].transpose(0, 2, 3, 1))})
        restored = outputs[RESTORED].transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255)
        return {RESTORED: restored}

    return run


def _record(memory: Memory, shared: int, artifact: str) -> TargetRecord:
    return TargetRecord(
        name=Imx500Target.name,
        backend=RUNTIME,
        versions={
            "imx500-converter": locked_version(CONVERTER, "imx500-converter"),
            "model-compression-toolkit": locked_version(QUANTIZER, "model-compression-toolkit"),
            "torch": torch.__version__,
        },
        details={
            "chip": "IMX500",
            "memory": asdict(memory),
            "available": CHIP_BYTES,
            "shared_constants": shared,
            "run_on_the_chip": False,
        },
        runtimes={RUNTIME: artifact},
    )


def _spec(name: str, size: int) -> TensorSpec:
    return TensorSpec(
        name=name,
        role="image",
        shape=(1, size, size, 3),
        dtype="uint8",
        layout="NHWC",
        colour="RGB",
        low=0.0,
        high=255.0,
        scale=1 / LEVELS,
        zero_point=0,
    )


def _write(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _discard(folder: Path, out: Path) -> None:
    """Delete the intermediate files of the tools."""
    for path in (
        *out.iterdir(),
        folder / WEIGHTS,
        folder / DESCRIPTION,
        folder / IMAGES,
        folder / CHECK,
    ):
        path.unlink()
    out.rmdir()
