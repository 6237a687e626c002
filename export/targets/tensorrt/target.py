"""TensorRT engines for NVIDIA GPUs; TensorRT-RTX builds them on any machine."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import onnx

from elir_edge.errors import BackendError
from elir_edge.model import Elir
from elir_edge.runtime.backends import open_backend
from elir_edge.runtime.backends.tensorrt.engine import (
    EngineBuilder,
    choose_builder,
    engine_record,
    gpu_here,
)
from elir_edge.runtime.backends.tensorrt.sdk import SerializedEngine, is_malformed
from elir_edge.runtime.manifest import Check, TargetRecord
from export.calibration.judge import Judge
from export.int8.gates import gates_of_search
from export.int8.search import SearchResult
from export.onnx_graph.half import to_half
from export.onnx_graph.to_onnx import IMAGE, NOISE, OPSET, RESTORED, tensor_spec, to_shipped_graph
from export.parity import MIN_PSNR_INT8, check_psnr, require
from export.qdq.placements import QdqPlacement
from export.qdq.running import running
from export.reporting import Report
from export.targets.base import EmittedArtifact, FitEstimate, Graph
from export.targets.tensorrt.int8 import RUNTIME, quantize_symmetric
from export.targets.tensorrt.usage import usage
from export.verify import StageValues, compare_fp16

_FOLDS = ("fold_scales", "fold_projections")
_CHECKED = "onnxruntime"
_SOURCE = "model.onnx"


@dataclass(frozen=True, kw_only=True)
class _QuantizedModel:
    """The ONNX graph in the engine's precision.

    Attributes:
        model: the graph from which the engine is built.
        excluded: convolutions with another precision, with the reasons.
        probe: for fp16: the graph with all stages as outputs.
        result: for int8: the search result.
        gate_judge: for int8: computes the quality on the gate crops.
    """

    model: onnx.ModelProto
    excluded: Mapping[str, str]
    probe: onnx.ModelProto | None = None
    result: SearchResult[QdqPlacement] | None = None
    gate_judge: Judge | None = None


class TensorRtTarget:
    """Inputs and outputs are float32 NCHW in [0, 1]; the ONNX graph's types decide inside."""

    name = "tensorrt"
    title = "NVIDIA GPUs: TensorRT-RTX from any machine, full TensorRT on the device"
    own_variant: str | None = None
    precisions = ("fp16", "int8", "fp32")
    rewrites: Mapping[str, tuple[str, ...]] = {
        "fp16": _FOLDS,
        # After these rewrites, only plain convolutions have to be quantized.
        "int8": (*_FOLDS, "transpose_to_shuffle", "transpose_to_phases", "last_convolution"),
        "fp32": _FOLDS,
    }

    def check(self, *, precision: str, device: str | None, noise: str, batch: int) -> None:
        """Require that an installed TensorRT can build the engine on this machine.

        Raises:
            ElirError: no installed TensorRT can build it; the message says what can.
        """
        choose_builder(precision, device, gpu_here())

    def fit(self, model: Elir, size: int) -> FitEstimate | None:
        """Return None, since any model fits."""
        return None

    def quantize(self, graph: Graph, folder: Path, report: Report) -> _QuantizedModel:
        """Return the ONNX graph in the requested precision; TensorRT follows its types."""
        shipped = to_shipped_graph(graph.probe, graph.description)
        if graph.precision == "int8":
            calibrated = graph.calibrate(shipped, report)
            found = quantize_symmetric(calibrated, effort=graph.effort)
            return _QuantizedModel(
                model=found.model,
                excluded=found.excluded,
                result=found.result,
                gate_judge=calibrated.gate_judge,
            )
        if graph.precision == "fp16":
            shipped, excluded = to_half(shipped)
            return _QuantizedModel(model=shipped, excluded=excluded, probe=to_half(graph.probe)[0])
        return _QuantizedModel(model=shipped, excluded={})

    def emit(
        self, graph: Graph, quantized: _QuantizedModel, folder: Path, report: Report
    ) -> EmittedArtifact:
        """Write `model.engine` and `model.onnx`, from which the engine is built.

        Raises:
            BackendError: TensorRT cannot build the graph, or cannot read its own engine.
        """
        builder = choose_builder(graph.precision, graph.device, gpu_here())
        source, artifact = folder / _SOURCE, folder / "model.engine"
        onnx.save(quantized.model, source)
        report(f"building the engine for {builder.gpu}")
        built = builder.build(source.read_bytes())
        if is_malformed(builder.sdk, built.plan):
            raise BackendError(
                f"{builder.sdk.kind} {builder.sdk.version} wrote an engine it cannot read"
            )
        artifact.write_bytes(built.plan)
        extra_files: dict[Path, str] = {source: "source of the engine"}
        if quantized.result is not None:
            path = folder / f"recipe-{RUNTIME}.json"
            path.write_text(quantized.result.to_json(), encoding="utf-8")
            extra_files[path] = "documentation"
        values = quantized.model.graph
        return EmittedArtifact(
            artifact=artifact,
            inputs=tuple(tensor_spec(value, graph.sigma_s) for value in values.input),
            outputs=tuple(tensor_spec(value, graph.sigma_s) for value in values.output),
            precision=graph.precision_record(quantized.excluded),
            target=self._record(builder, built, artifact, source),
            extra_files=extra_files,
            preview_runtime=None if builder.here else _CHECKED,
            remarks=_remarks(builder, built),
        )

    def verify(
        self, graph: Graph, quantized: _QuantizedModel, emitted: EmittedArtifact, report: Report
    ) -> list[Check]:
        """Check the ONNX graph in ONNX Runtime: fp16 at every stage, int8 without fusions.

        If this machine has the engine's GPU, the engine is run too; the manifest records whether.
        """
        folder = emitted.artifact.parent
        checks: list[Check] = []
        if quantized.gate_judge is not None and quantized.result is not None:
            with running(quantized.model, RUNTIME) as run:
                quality = quantized.gate_judge(run, report)
            name, enforce = "ONNX Runtime, as written", graph.enforce_gates
            checks = gates_of_search(name, quality, quantized.result, enforce=enforce)
        else:
            if quantized.probe is not None:
                checks += graph.verify_stages("fp16", quantized.probe, folder, compare_fp16)
            name = f"{graph.precision} ONNX in {_CHECKED}"
            checks += graph.verify_file(name, folder / _SOURCE, graph.compare, _CHECKED)
        ran = emitted.target.engine is not None and emitted.target.engine.ran
        return [*checks, *(_run(graph, emitted.artifact) if ran else [])]

    def _record(
        self, builder: EngineBuilder, built: SerializedEngine, artifact: Path, source: Path
    ) -> TargetRecord:
        packages = ("onnx", "onnxruntime", "torch")
        versions = {name: version(name) for name in packages}
        return TargetRecord(
            name=self.name,
            backend=RUNTIME,
            versions={**versions, builder.sdk.kind: builder.sdk.version},
            details={
                "opset": OPSET,
                "num_layers": built.num_layers,
                "convolutions": built.convolutions,
            },
            runtimes={RUNTIME: artifact.name, _CHECKED: source.name},
            engine=engine_record(builder, source.name, ran=builder.here),
        )

    def readme(self, graph: Graph, emitted: EmittedArtifact) -> str:
        """Return the instructions for the device."""
        assert emitted.target.engine is not None
        return usage(emitted.target.engine, emitted.artifact.name, graph.description["name"])


def _run(graph: Graph, artifact: Path) -> list[Check]:
    """Run the engine on this machine's GPU and compare it with torch."""
    feed = {IMAGE: graph.image.numpy()}
    if graph.noise is not None:
        feed[NOISE] = graph.noise.numpy()
    got = {RESTORED: open_backend(RUNTIME, artifact, None).run(feed)[RESTORED]}
    expected = {RESTORED: graph.reference[RESTORED]}
    # A GPU's fp32 may use TF32 and another order of summation, so its tolerance is that of fp16.
    int8 = graph.precision == "int8"
    checks = (_compare_int8 if int8 else compare_fp16)("engine", "torch fp32", expected, got)
    return checks if int8 and not graph.enforce_gates else require(checks)


def _compare_int8(
    form: str, reference: str, expected: StageValues, got: StageValues
) -> list[Check]:
    return [
        check_psnr(form, stage, reference, expected[stage], got[stage], MIN_PSNR_INT8)
        for stage in expected
    ]


def _remarks(builder: EngineBuilder, built: SerializedEngine) -> tuple[str, ...]:
    types = ", ".join(f"{count} {kind}" for kind, count in built.convolutions.items())
    layers = f"{built.num_layers} layers, convolutions {types or 'not told by the builder'}"
    remark = f"engine for {builder.gpu} by {builder.sdk.kind} {builder.sdk.version}: {layers}"
    if builder.here:
        return (remark,)
    return (
        remark,
        f"built ahead of time, not run here: no {builder.gpu} GPU; its ONNX in the same precision "
        "was checked instead. Here, pass --runtime onnxruntime",
    )
