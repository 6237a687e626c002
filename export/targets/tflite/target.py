"""TFLite files for phones: LiteRT's CPU kernels, and GPUs and NPUs through its delegates."""

import json
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import torch

from elir_edge.errors import ExportError
from elir_edge.model import Elir
from elir_edge.runtime.backends.litert import LiteRtBackend
from elir_edge.runtime.manifest import Check, TargetRecord, TensorSpec
from export.calibration.judge import Judge
from export.calibration.timing import Feed
from export.int8.cache import find_cached
from export.int8.gates import gates_of_search, reasons
from export.int8.search import Effort, SearchResult
from export.memory import give_back_memory
from export.onnx_graph.to_onnx import IMAGE, NOISE, RESTORED, to_shipped_graph
from export.parity import require
from export.qdq.calibrated import SearchInputs
from export.reporting import Report
from export.static.unroll import StaticElir, at_side
from export.targets.base import EmittedArtifact, FitEstimate, Graph, refuse_device
from export.targets.tflite.candidates import RUNTIME, TfliteCandidates, running_file
from export.targets.tflite.convert import to_tflite
from export.targets.tflite.delegates import REQUIRED, Portability, judge_operations
from export.targets.tflite.file import describe, read_operations
from export.targets.tflite.observe import observe_file
from export.targets.tflite.quantize import TflitePlacement, halve_file
from export.targets.tflite.usage import usage
from export.targets.tflite.weights import prepare_for_int8

_ARTIFACT = "model.tflite"
METADATA = "ELIR_EDGE"
"""Name of the file's metadata buffer, JSON that describes the model and its inputs."""
_PACKAGES = ("ai-edge-litert", "ai-edge-quantizer", "litert-torch", "torch")


@dataclass(frozen=True, kw_only=True)
class _QuantizedModel:
    """Results of `quantize`, beside the file that it wrote.

    Attributes:
        result: for int8: the search result.
        gate_judge: for int8: computes the quality on the gate crops.
    """

    result: SearchResult[TflitePlacement] | None = None
    gate_judge: Judge | None = None


class TfliteTarget:
    """Images are channels last; uint8 for int8, float32 in [0, 1] for other precisions."""

    name = "tflite"
    title = "LiteRT (TensorFlow Lite) on phones: CPU, GPU and NPU delegates"
    own_variant: str | None = None
    precisions = ("int8", "fp32", "fp16")
    rewrites: Mapping[str, tuple[str, ...]] = dict.fromkeys(
        precisions, ("fold_scales", "fold_projections", "upsample_convolution", "norm_to_averages")
    )

    def check(self, *, precision: str, device: str | None, noise: str, batch: int) -> None:
        """Refuse a device, since a TFLite file is not built for a particular one."""
        refuse_device(self.name, device)

    def fit(self, model: Elir, size: int) -> FitEstimate | None:
        """Return None, since any model fits."""
        return None

    def quantize(self, graph: Graph, folder: Path, report: Report) -> _QuantizedModel:
        """Write the file in the requested precision into `folder`."""
        artifact = folder / _ARTIFACT
        if graph.precision != "int8":
            report("converting")
            _convert_float(graph, artifact)
            return _QuantizedModel()
        static, inputs = _prepare(graph, report)
        return _QuantizedModel(
            result=_quantize(graph, static, inputs, artifact, report), gate_judge=inputs.gate_judge
        )

    def emit(
        self, graph: Graph, quantized: _QuantizedModel, folder: Path, report: Report
    ) -> EmittedArtifact:
        """Write the description into the file's metadata.

        Raises:
            ExportError: the file has an operation that phones reject.
        """
        artifact = folder / _ARTIFACT
        portability = _require_portable(artifact)
        specs = _specs(graph)
        description = {**graph.description, "tensors": [asdict(spec) for spec in specs]}
        describe(
            artifact,
            f"{graph.description['name']}: image restoration, {graph.description['tool']}",
            {METADATA: json.dumps(description, sort_keys=True).encode()},
        )
        extra_files: dict[Path, str] = {}
        details = {
            "operations": portability.operations,
            "layout_operations": portability.layout_operations,
            "rejected": portability.rejected,
        }
        excluded: dict[str, str] = {}
        if quantized.result is not None:
            recipe = folder / f"recipe-{RUNTIME}.json"
            recipe.write_text(quantized.result.to_json(), encoding="utf-8")
            extra_files[recipe] = "documentation"
            details["recipes"] = {RUNTIME: quantized.result.recipe.title}
            excluded = reasons(quantized.result.recipe.float_nodes, quantized.result.gains)
        return EmittedArtifact(
            artifact=artifact,
            inputs=tuple(spec for spec in specs if spec.name != RESTORED),
            outputs=tuple(spec for spec in specs if spec.name == RESTORED),
            precision=graph.precision_record(excluded),
            target=TargetRecord(
                name=self.name,
                backend=RUNTIME,
                versions={name: version(name) for name in _PACKAGES},
                details=details,
                runtimes={RUNTIME: artifact.name},
            ),
            extra_files=extra_files,
        )

    def verify(
        self, graph: Graph, quantized: _QuantizedModel, emitted: EmittedArtifact, report: Report
    ) -> list[Check]:
        """Compare a float file with torch; check an int8 file on the gate crops."""
        if quantized.gate_judge is None or quantized.result is None:
            return _compare_with_torch(graph, emitted.artifact)
        with running_file(emitted.artifact) as run:
            quality = quantized.gate_judge(run, report)
        return gates_of_search(RUNTIME, quality, quantized.result, enforce=graph.enforce_gates)

    def readme(self, graph: Graph, emitted: EmittedArtifact) -> str:
        """Return the instructions for Android, iOS and Python without elir-edge."""
        return usage(emitted.inputs, graph.task, graph.description["name"])


def _convert_float(graph: Graph, artifact: Path) -> None:
    """Write the float32 file, or the file with fp16 weights."""
    source = artifact.with_name("float.tflite") if graph.precision == "fp16" else artifact
    to_tflite(graph.static, graph.image, graph.noise, source, clamped=True)
    if graph.precision == "fp16":
        halve_file(source, artifact)
        source.unlink()


def _prepare(graph: Graph, report: Report) -> tuple[StaticElir, SearchInputs]:
    """Return the model with rounded kernels, and what its files are judged on."""
    calibrated = graph.calibrate(to_shipped_graph(graph.probe, graph.description), report)
    static = prepare_for_int8(graph.static, calibrated, correct=_corrects(graph))
    return static, calibrated.search_inputs


def _corrects(graph: Graph) -> bool:
    """Tell whether biases are corrected for the mean error of int8."""
    return graph.effort is Effort.GATES


def _quantize(
    graph: Graph, static: StaticElir, inputs: SearchInputs, artifact: Path, report: Report
) -> SearchResult[TflitePlacement]:
    """Search for a recipe and write its file."""
    with tempfile.TemporaryDirectory() as name:
        report("converting")
        source = Path(name) / "float.tflite"
        side = inputs.side
        _convert_at_side(graph, static, side, source)
        give_back_memory()
        observed = observe_file(source, [_channels_last(f) for f in inputs.feeds], report)
        give_back_memory()
        candidates = TfliteCandidates(source, observed, corrected=_corrects(graph))
        result = find_cached(
            candidates,
            inputs.search_judge,
            TflitePlacement,
            {**inputs.key, "versions": {name: version(name) for name in _PACKAGES}},
            effort=graph.effort,
            report=report,
        )
        if side != graph.image.shape[-1]:
            report("converting at full size")
            source = Path(name) / "full.tflite"
            to_tflite(static, graph.image, graph.noise, source, clamped=False)
        candidates.write(result.recipe, artifact, source)
    return result


def _convert_at_side(graph: Graph, static: StaticElir, side: int, target: Path) -> None:
    """Write the float32 file for square images of `side` pixels."""
    small, noise = at_side(static, graph.image, graph.noise, side)
    to_tflite(small, graph.image[..., :side, :side], noise, target, clamped=False)


def _compare_with_torch(graph: Graph, artifact: Path) -> list[Check]:
    """Require that a float file gives the same result as torch.

    Raises:
        ParityError: the results differ by more than the tolerance.
    """
    feed = {IMAGE: graph.image.numpy()}
    if graph.noise is not None:
        feed[NOISE] = graph.noise.numpy()
    with running_file(artifact) as run:
        got = {RESTORED: run(feed)[RESTORED]}
    expected = {RESTORED: graph.reference[RESTORED]}
    return require(graph.compare(f"artifact in {RUNTIME}", "torch fp32", expected, got))


def _require_portable(artifact: Path) -> Portability:
    """Require that XNNPACK runs all operations and that the GPU does so according to the table.

    Raises:
        ExportError: a required delegate rejects an operation.
    """
    with LiteRtBackend(artifact, 1, keep_operations=True) as backend:
        undelegated = backend.undelegated()
    portability = judge_operations(read_operations(artifact), undelegated)
    faults = {name: portability.rejected[name] for name in REQUIRED if portability.rejected[name]}
    if faults:
        raise ExportError(
            "phones would reject operations of the TFLite file",
            got="; ".join(f"{name}: {', '.join(items)}" for name, items in faults.items()),
            expected="operations of the table in export/targets/tflite/delegates.py alone",
            fix="export with the target's own rewrites (leave out --rewrites)",
        )
    return portability


def _channels_last(feed: Feed) -> Feed:
    return {
        name: torch.from_numpy(value).permute(0, 2, 3, 1).contiguous().numpy()
        for name, value in feed.items()
    }


def _specs(graph: Graph) -> list[TensorSpec]:
    """Describe the image, the noise (if it is an input) and the result."""
    batch, _, height, width = graph.image.shape
    in_bytes = graph.precision == "int8"

    def image(name: str) -> TensorSpec:
        return TensorSpec(
            name=name,
            role="image",
            shape=(batch, height, width, 3),
            dtype="uint8" if in_bytes else "float32",
            layout="NHWC",
            colour="RGB",
            low=0.0,
            high=255.0 if in_bytes else 1.0,
            scale=1 / 255 if in_bytes else None,
            zero_point=0 if in_bytes else None,
        )

    specs = [image(IMAGE), image(RESTORED)]
    if graph.noise is not None:
        count, channels, rows, columns = graph.noise.shape
        specs.append(
            TensorSpec(
                name=NOISE,
                role="noise",
                shape=(count, rows, columns, channels),
                dtype="float32",
                layout="NHWC",
                colour="",
                low=-graph.sigma_s,
                high=graph.sigma_s,
            )
        )
    return specs
