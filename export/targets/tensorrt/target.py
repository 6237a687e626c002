"""TensorRT engines for NVIDIA GPUs, built on any machine where TensorRT-RTX is the builder."""

import dataclasses
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import onnx

from elir_edge.errors import BackendError
from elir_edge.model import Elir
from elir_edge.runtime.backends import open_backend
from elir_edge.runtime.backends.tensorrt.engine import Plan, gpu_here, plan_build, record
from elir_edge.runtime.backends.tensorrt.sdk import Built, malformed
from elir_edge.runtime.manifest import Check, Precision
from elir_edge.runtime.manifest import Target as TargetRecord
from export.onnx_graph.half import to_half
from export.onnx_graph.to_onnx import IMAGE, NOISE, OPSET, RESTORED, tensor_spec, to_shipped_graph
from export.parity import MIN_PSNR_INT8, check_psnr, require
from export.targets.base import Emitted, Fit, Graph
from export.targets.tensorrt.int8 import RUNTIME, quantize_symmetric
from export.targets.tensorrt.usage import usage
from export.verify import StageValues, near_fp32, near_half, verify_onnx

_FOLDS = ("fold_scales", "fold_projections")
_CHECKED = "onnxruntime"


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Made:
    """The ONNX of the engine's precision, and what is known of it."""

    model: onnx.ModelProto
    precision: Precision
    checks: list[Check]
    recipe: str = ""


class TensorRtTarget:
    """float32 NCHW in [0, 1] in and out; inside, the types of the ONNX graph decide."""

    name = "tensorrt"
    title = "NVIDIA GPUs: TensorRT-RTX from any machine, full TensorRT on the device"
    own_variant: str | None = None
    precisions = ("fp16", "int8", "fp32")
    rewrites: Mapping[str, tuple[str, ...]] = {
        "fp16": _FOLDS,
        # So that convolutions alone have to be quantized.
        "int8": (*_FOLDS, "transpose_to_shuffle", "transpose_to_phases", "last_convolution"),
        "fp32": _FOLDS,
    }

    def check(self, *, precision: str, device: str | None, noise: str, batch: int) -> None:
        """Require that an installed TensorRT can build this here.

        Raises:
            ElirError: it cannot; the line says what can.
        """
        plan_build(precision, device, gpu_here())

    def fit(self, model: Elir, size: int) -> Fit | None:
        """Return None: there is room for any model."""
        return None

    def emit(self, graph: Graph, precision: str, folder: Path) -> Emitted:
        """Write `model.engine` and the `model.onnx` that it is built from.

        Where this machine's GPU is the engine's, the engine is what is checked; elsewhere the ONNX
        of the same precision is, and the manifest says so.

        Raises:
            BackendError: TensorRT refuses the graph.
        """
        plan = plan_build(precision, graph.device, gpu_here())
        made = _make(graph, precision, folder)
        source, artifact = folder / "model.onnx", folder / "model.engine"
        onnx.save(made.model, source)
        graph.report(f"building the engine for {plan.gpu}")
        built = plan.build(source.read_bytes())
        if malformed(plan.sdk, built.plan):
            raise BackendError(f"{plan.sdk.kind} {plan.sdk.version} wrote an engine it cannot read")
        artifact.write_bytes(built.plan)
        checks = [*made.checks, *(_run(graph, precision, artifact) if plan.here else [])]
        others: dict[Path, str] = {source: "source of the engine"}
        if made.recipe:
            path = folder / f"recipe-{RUNTIME}.json"
            path.write_text(made.recipe, encoding="utf-8")
            others[path] = "documentation"
        return Emitted(
            artifact=artifact,
            inputs=tuple(tensor_spec(value, graph.sigma_s) for value in made.model.graph.input),
            outputs=tuple(tensor_spec(value, graph.sigma_s) for value in made.model.graph.output),
            precision=made.precision,
            target=self._record(plan, built, artifact, source),
            checks=checks,
            others=others,
            tried_in=None if plan.here else _CHECKED,
            remarks=_remarks(plan, built),
        )

    def _record(self, plan: Plan, built: Built, artifact: Path, source: Path) -> TargetRecord:
        packages = ("onnx", "onnxruntime", "torch")
        versions = {name: version(name) for name in packages}
        return TargetRecord(
            name=self.name,
            backend=RUNTIME,
            versions={**versions, plan.sdk.kind: plan.sdk.version},
            details={
                "opset": OPSET,
                "num_layers": built.num_layers,
                "convolutions": built.convolutions,
            },
            runtimes={RUNTIME: artifact.name, _CHECKED: source.name},
            engine=record(plan, source.name, ran=plan.here),
        )

    def readme(self, graph: Graph, emitted: Emitted) -> str:
        """Return the lines for the device."""
        assert emitted.target.engine is not None
        return usage(emitted.target.engine, emitted.artifact.name, graph.description["name"])


def _make(graph: Graph, precision: str, folder: Path) -> _Made:
    """Return the ONNX graph of a precision, checked in ONNX Runtime: fp16 at every stage."""
    shipped = to_shipped_graph(graph.probe, graph.description)
    if precision == "int8":
        assert graph.calibration is not None
        quantized = quantize_symmetric(
            graph.calibrate(shipped), enforce_gates=graph.enforce_gates, report=graph.report
        )
        return _Made(
            model=quantized.model,
            precision=Precision(
                name=precision,
                excluded=quantized.excluded,
                calibration_sha256=graph.calibration.sha256,
                calibration_count=len(graph.calibration.ranges),
            ),
            checks=quantized.checks,
            recipe=quantized.result.to_json(),
        )
    given = (folder, graph.reference, graph.image, graph.noise)
    checks: list[Check] = []
    excluded: dict[str, str] = {}
    if precision == "fp16":
        checks += verify_onnx("fp16", to_half(graph.probe)[0], *given, near_half)
        shipped, excluded = to_half(shipped)
    compare = near_half if precision == "fp16" else near_fp32
    checks += verify_onnx(f"{precision} ONNX in {_CHECKED}", shipped, *given, compare)
    return _Made(
        model=shipped, precision=Precision(name=precision, excluded=excluded), checks=checks
    )


def _run(graph: Graph, precision: str, artifact: Path) -> list[Check]:
    """Run the engine on this machine's GPU and compare it with torch."""
    feed = {IMAGE: graph.image.numpy()}
    if graph.noise is not None:
        feed[NOISE] = graph.noise.numpy()
    got = {RESTORED: open_backend(RUNTIME, artifact, None).run(feed)[RESTORED]}
    expected = {RESTORED: graph.reference[RESTORED]}
    # TF32 and other orders of summation: a GPU's fp32 is judged like fp16.
    compare = _near_int8 if precision == "int8" else near_half
    checks = compare("engine", "torch fp32", expected, got)
    return checks if precision == "int8" and not graph.enforce_gates else require(checks)


def _near_int8(form: str, reference: str, expected: StageValues, got: StageValues) -> list[Check]:
    return [
        check_psnr(form, stage, reference, expected[stage], got[stage], MIN_PSNR_INT8)
        for stage in expected
    ]


def _remarks(plan: Plan, built: Built) -> tuple[str, ...]:
    types = ", ".join(f"{count} {kind}" for kind, count in built.convolutions.items())
    layers = f"{built.num_layers} layers, convolutions {types or 'not told by the builder'}"
    remark = f"engine for {plan.gpu} by {plan.sdk.kind} {plan.sdk.version}: {layers}"
    if plan.here:
        return (remark,)
    return (
        remark,
        f"built ahead of time, not run here: no {plan.gpu} GPU; checked was the ONNX of the same "
        "precision. Here, pass --runtime onnxruntime",
    )
