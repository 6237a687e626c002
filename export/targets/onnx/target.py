"""ONNX files for ONNX Runtime, OpenVINO and any other reader of opset 20."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import onnx

from elir_edge.model import Elir
from elir_edge.runtime.manifest import Check, TargetRecord
from export.calibration.judge import Judge
from export.int8.gates import gates_of_search
from export.int8.search import SearchResult
from export.onnx_graph.half import to_half
from export.onnx_graph.to_onnx import OPSET, tensor_spec, to_shipped_graph
from export.qdq.placements import QdqPlacement
from export.qdq.quantize import quantize_for
from export.qdq.running import running
from export.reporting import Report
from export.snippets import Call, photo_to_photo
from export.targets.base import EmittedArtifact, FitEstimate, Graph, refuse_device
from export.verify import compare_fp16

RUNTIMES = ("onnxruntime", "openvino")
"""The runtimes in which every bundle is checked; the first is the default."""
_FOLDS = ("fold_scales", "fold_projections")


@dataclass(frozen=True, kw_only=True)
class _QuantizedModel:
    """The graphs in the requested precision.

    Attributes:
        models: the graph of each runtime; runtimes with the same file share the object.
        excluded: convolutions with another precision, with the reasons.
        probe: for fp16: the graph with all stages as outputs.
        results: for int8: the search results, by runtime.
        gate_judge: for int8: computes the quality of a file on the gate crops.
    """

    models: Mapping[str, onnx.ModelProto]
    excluded: Mapping[str, str]
    probe: onnx.ModelProto | None = None
    results: Mapping[str, SearchResult[QdqPlacement]] = field(default_factory=dict)
    gate_judge: Judge | None = None


class OnnxTarget:
    """Inputs and outputs are float32 NCHW in [0, 1], whatever the internal precision."""

    name = "onnx"
    title = "ONNX Runtime and OpenVINO on CPUs, and other readers of ONNX"
    own_variant: str | None = None
    precisions = ("fp32", "fp16", "int8")
    rewrites: Mapping[str, tuple[str, ...]] = {
        "fp32": _FOLDS,
        "fp16": _FOLDS,
        # Neither runtime has an int8 kernel for transposed convolutions.
        "int8": (*_FOLDS, "transpose_to_shuffle", "transpose_to_phases", "last_convolution"),
    }

    def check(self, *, precision: str, device: str | None, noise: str, batch: int) -> None:
        """Refuse a device, since an ONNX file is not built for a particular one."""
        refuse_device(self.name, device)

    def fit(self, model: Elir, size: int) -> FitEstimate | None:
        """Return None, since any model fits."""
        return None

    def quantize(self, graph: Graph, folder: Path, report: Report) -> _QuantizedModel:
        """Return the graph in the requested precision; for int8, one for each runtime."""
        shipped = to_shipped_graph(graph.probe, graph.description)
        if graph.precision == "int8":
            calibrated = graph.calibrate(shipped, report)
            graphs = quantize_for(RUNTIMES, calibrated, effort=graph.effort)
            return _QuantizedModel(
                models={runtime: each.model for runtime, each in graphs.items()},
                excluded=graphs[RUNTIMES[0]].excluded,
                results={runtime: each.result for runtime, each in graphs.items()},
                gate_judge=calibrated.gate_judge,
            )
        if graph.precision == "fp16":
            shipped, excluded = to_half(shipped)
            probe, _ = to_half(graph.probe)
            return _QuantizedModel(
                models=dict.fromkeys(RUNTIMES, shipped), excluded=excluded, probe=probe
            )
        return _QuantizedModel(models=dict.fromkeys(RUNTIMES, shipped), excluded={})

    def emit(
        self, graph: Graph, quantized: _QuantizedModel, folder: Path, report: Report
    ) -> EmittedArtifact:
        """Write `model.onnx` and, for int8, the files of runtimes that need another graph."""
        files = _files(quantized, folder)
        for runtime, path in files.items():
            onnx.save(quantized.models[runtime], path)
        artifact = files[RUNTIMES[0]]
        extra_files = {p: "artifact for another runtime" for p in files.values() if p != artifact}
        for runtime, result in quantized.results.items():
            path = folder / f"recipe-{runtime}.json"
            path.write_text(result.to_json(), encoding="utf-8")
            extra_files[path] = "documentation"
        values = quantized.models[RUNTIMES[0]].graph
        return EmittedArtifact(
            artifact=artifact,
            inputs=tuple(tensor_spec(value, graph.sigma_s) for value in values.input),
            outputs=tuple(tensor_spec(value, graph.sigma_s) for value in values.output),
            precision=graph.precision_record(quantized.excluded),
            target=self._record(quantized, files),
            extra_files=extra_files,
        )

    def verify(
        self, graph: Graph, quantized: _QuantizedModel, emitted: EmittedArtifact, report: Report
    ) -> list[Check]:
        """Check every file in its runtime; for fp16, also check every stage."""
        folder = emitted.artifact.parent
        if quantized.gate_judge is not None:
            return _judge(graph, quantized, _files(quantized, folder), report)
        checks: list[Check] = []
        if quantized.probe is not None:
            checks += graph.verify_stages("fp16", quantized.probe, folder, compare_fp16)
        for runtime, path in _files(quantized, folder).items():
            checks += graph.verify_file(f"artifact in {runtime}", path, graph.compare, runtime)
        return checks

    def _record(self, quantized: _QuantizedModel, files: Mapping[str, Path]) -> TargetRecord:
        packages = ("onnx", "onnxruntime", "openvino", "torch")
        recipes = {runtime: result.recipe.title for runtime, result in quantized.results.items()}
        num_nodes = len(quantized.models[RUNTIMES[0]].graph.node)
        return TargetRecord(
            name=self.name,
            backend=RUNTIMES[0],
            versions={name: version(name) for name in packages},
            details={
                "opset": OPSET,
                "num_nodes": num_nodes,
                **({"recipes": recipes} if recipes else {}),
            },
            runtimes={runtime: path.name for runtime, path in files.items()},
        )

    def readme(self, graph: Graph, emitted: EmittedArtifact) -> str:
        """Return how to use ONNX Runtime without elir-edge."""
        image = emitted.inputs[0]
        batch, side = image.shape[0], image.shape[-1]
        feed = '{"image": batch'
        run = ["batch = tile.transpose(2, 0, 1)[None].astype(np.float32) / 255"]
        if batch > 1:
            run.append(f"batch = np.repeat(batch, {batch}, axis=0)  # {batch} images in one run")
        if len(emitted.inputs) > 1:
            shape = ", ".join(str(n) for n in emitted.inputs[1].shape)
            run.append(f"noise = {graph.sigma_s} * np.random.randn({shape})")
            feed += ', "noise": noise.astype(np.float32)'
        run += [
            f'output = session.run(["restored"], {feed}}})[0][0]',
            "pixels = np.rint(output.transpose(1, 2, 0) * 255)",
        ]
        path = f"{graph.description['name']}/model.onnx"
        call = Call(
            imports=["import onnxruntime"],
            setup=[f'session = onnxruntime.InferenceSession("{path}")'],
            run=run,
        )
        return (
            f"Any ONNX Runtime runs the file alone (float32 NCHW, RGB in [0, 1], {side} x {side}):"
            f"\n\n{photo_to_photo(call, graph.task, side)}"
        )


def _files(quantized: _QuantizedModel, folder: Path) -> dict[str, Path]:
    """Return each runtime's file: `model.onnx` for the first and for those with the same graph."""
    first = quantized.models[RUNTIMES[0]]
    return {
        runtime: folder / ("model.onnx" if model is first else f"model-{runtime}.onnx")
        for runtime, model in quantized.models.items()
    }


def _judge(
    graph: Graph, quantized: _QuantizedModel, files: Mapping[str, Path], report: Report
) -> list[Check]:
    """Check the int8 file of every runtime on crops that were not used to make it."""
    assert quantized.gate_judge is not None
    checks: list[Check] = []
    for runtime, path in files.items():
        with running(onnx.load(path), runtime) as run:
            quality = quantized.gate_judge(run, report, f"{runtime}: gates")
        result = quantized.results[runtime]
        checks += gates_of_search(runtime, quality, result, enforce=graph.enforce_gates)
    return checks
