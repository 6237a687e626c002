"""ONNX files for ONNX Runtime, OpenVINO and whatever else reads opset 20."""

import dataclasses
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path

import onnx

from elir_edge.model import Elir
from elir_edge.runtime.manifest import Check, Precision
from elir_edge.runtime.manifest import Target as TargetRecord
from export.onnx_graph.half import to_half
from export.onnx_graph.to_onnx import OPSET, tensor_spec, to_shipped_graph
from export.qdq.quantize import files_by_runtime, quantize_for
from export.snippets import Call, photo_to_photo
from export.targets.base import Emitted, Fit, Graph, refuse_device
from export.verify import StageValues, near_fp32, near_half, verify_onnx

RUNTIMES = ("onnxruntime", "openvino")
"""Those that every bundle is checked in; the first is the default."""
_FOLDS = ("fold_scales", "fold_projections")


class OnnxTarget:
    """float32 NCHW in [0, 1] in and out, whatever the precision inside."""

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
        """Refuse devices: an ONNX file is for none in particular."""
        refuse_device(self.name, device)

    def fit(self, model: Elir, size: int) -> Fit | None:
        """Return None: there is room for any model."""
        return None

    def emit(self, graph: Graph, precision: str, folder: Path) -> Emitted:
        """Write `model.onnx` into `folder` and check it by running it, fp16 at every stage.

        int8 may need another file for OpenVINO: `model-openvino.onnx`.
        """
        shipped = to_shipped_graph(graph.probe, graph.description)
        if precision == "int8":
            return self._emit_int8(graph, shipped, folder)
        excluded: dict[str, str] = {}
        checks: list[Check] = []
        if precision == "fp16":
            half_probe, _ = to_half(graph.probe)
            checks += _verify("fp16", half_probe, graph, folder, near_half)
            shipped, excluded = to_half(shipped)
        compare = near_half if precision == "fp16" else near_fp32
        for runtime in RUNTIMES:
            checks += _verify(f"artifact in {runtime}", shipped, graph, folder, compare, runtime)
        artifact = folder / "model.onnx"
        onnx.save(shipped, artifact)
        return Emitted(
            artifact=artifact,
            inputs=tuple(tensor_spec(value, graph.sigma_s) for value in shipped.graph.input),
            outputs=tuple(tensor_spec(value, graph.sigma_s) for value in shipped.graph.output),
            precision=Precision(name=precision, excluded=excluded),
            target=self._record(shipped, dict.fromkeys(RUNTIMES, artifact.name)),
            checks=checks,
        )

    def _emit_int8(self, graph: Graph, shipped: onnx.ModelProto, folder: Path) -> Emitted:
        assert graph.calibration is not None
        made = quantize_for(
            RUNTIMES,
            graph.calibrate(shipped),
            enforce_gates=graph.enforce_gates,
            report=graph.report,
        )
        files = files_by_runtime(made, folder)
        for runtime, path in files.items():
            onnx.save(made[runtime].model, path)
        first = files[RUNTIMES[0]]
        others = {path: "artifact for another runtime" for path in files.values() if path != first}
        for runtime, each in made.items():
            path = folder / f"recipe-{runtime}.json"
            path.write_text(each.result.to_json(), encoding="utf-8")
            others[path] = "documentation"
        record = self._record(shipped, {runtime: path.name for runtime, path in files.items()})
        recipes = {runtime: each.result.recipe.title for runtime, each in made.items()}
        main = made[RUNTIMES[0]]
        return Emitted(
            artifact=first,
            inputs=tuple(tensor_spec(value, graph.sigma_s) for value in shipped.graph.input),
            outputs=tuple(tensor_spec(value, graph.sigma_s) for value in shipped.graph.output),
            precision=Precision(
                name="int8",
                excluded=main.excluded,
                calibration_sha256=graph.calibration.sha256,
                calibration_count=len(graph.calibration.ranges),
            ),
            target=dataclasses.replace(record, details={**record.details, "recipes": recipes}),
            checks=[check for each in made.values() for check in each.checks],
            others=others,
        )

    def _record(self, shipped: onnx.ModelProto, runtimes: dict[str, str]) -> TargetRecord:
        packages = ("onnx", "onnxruntime", "openvino", "torch")
        return TargetRecord(
            name=self.name,
            backend=RUNTIMES[0],
            versions={name: version(name) for name in packages},
            details={"opset": OPSET, "num_nodes": len(shipped.graph.node)},
            runtimes=runtimes,
        )

    def readme(self, graph: Graph, emitted: Emitted) -> str:
        """Return the lines for ONNX Runtime without elir-edge."""
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


def _verify(
    form: str,
    model: onnx.ModelProto,
    graph: Graph,
    folder: Path,
    compare: Callable[[str, str, StageValues, StageValues], list[Check]],
    runtime: str = "onnxruntime",
) -> list[Check]:
    return verify_onnx(
        form, model, folder, graph.reference, graph.image, graph.noise, compare, runtime
    )
