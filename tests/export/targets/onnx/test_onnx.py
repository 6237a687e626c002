"""The README's Python run with a runtime of our own, and which files a bundle has."""

from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest

from elir_edge.errors import ParityError
from elir_edge.runtime.manifest import TensorSpec
from elir_edge.tasks import TASKS
from export.calibration.judge import Quality
from export.int8.recipe import Recipe
from export.int8.search import SearchResult
from export.onnx_graph.to_onnx import OPSET
from export.qdq.placements import QdqPlacement
from export.reporting import SILENT
from export.targets.onnx import target as target_module
from export.targets.onnx.target import RUNTIMES, OnnxTarget
from tests.export.targets.shown_code import Feed, run_shown

_SIDE = 64


def _spec(name: str, shape: tuple[int, ...]) -> TensorSpec:
    return TensorSpec(
        name=name,
        role="image",
        shape=shape,
        dtype="float32",
        layout="NCHW",
        colour="RGB",
        low=0.0,
        high=1.0,
    )


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("noisy", [False, True])
def test_the_readme_s_python_copies(
    batch: int, noisy: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Image and noise have the graph's shapes and ranges; tiles come back in their places."""
    fed: list[Feed] = []
    opened: list[str] = []

    def run(names: list[str], feed: Feed) -> list[np.ndarray]:
        assert names == ["restored"]
        fed.append(feed)
        return [feed["image"]]

    def session(path: str) -> Any:
        opened.append(path)
        return SimpleNamespace(run=run)

    module = ModuleType("onnxruntime")
    module.InferenceSession = session  # type: ignore[attr-defined]
    inputs = [_spec("image", (batch, 3, _SIDE, _SIDE))]
    inputs += [_spec("noise", (batch, 4, 8, 6))] * noisy
    graph: Any = SimpleNamespace(
        sigma_s=0.25, description={"name": "a-bundle"}, task=TASKS["denoising"]
    )
    emitted: Any = SimpleNamespace(inputs=inputs)
    text = OnnxTarget().readme(graph, emitted)
    assert f"{_SIDE} x {_SIDE}" in text
    photo, restored = run_shown(text, module, tmp_path, monkeypatch)
    assert np.array_equal(photo, restored)
    assert opened == ["a-bundle/model.onnx"]
    assert len(fed) == 4
    for feed in fed:
        assert set(feed) == ({"image", "noise"} if noisy else {"image"})
        assert feed["image"].shape == (batch, 3, _SIDE, _SIDE)
        assert feed["image"].dtype == np.float32
        assert feed["image"].max() == 1
        assert (feed["image"] == feed["image"][:1]).all()
    if noisy:
        noise = np.stack([feed["noise"] for feed in fed])
        assert noise.shape == (4, batch, 4, 8, 6)
        assert noise.dtype == np.float32
        assert noise.std() == pytest.approx(0.25, rel=0.1)


def _model(name: str) -> onnx.ModelProto:
    """Return a graph that copies an image."""
    shape = [1, 3, 8, 8]
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Identity", ["image"], ["restored"], name=name)],
        "g",
        [value("image", onnx.TensorProto.FLOAT, shape)],
        [value("restored", onnx.TensorProto.FLOAT, shape)],
    )
    return onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", OPSET)], ir_version=10
    )


def _result(runtime: str) -> SearchResult[QdqPlacement]:
    return SearchResult(
        runtime=runtime,
        recipe=Recipe(placement=QdqPlacement.ALL, estimator="mse"),
        passed=True,
    )


def _quantized(*, shared: bool) -> Any:
    first = _model("first")
    models = {RUNTIMES[0]: first, RUNTIMES[1]: first if shared else _model("second")}
    return target_module._QuantizedModel(
        models=models,
        excluded={"first": "why"},
        results={runtime: _result(runtime) for runtime in RUNTIMES},
        gate_judge=lambda run, report, text: Quality(  # type: ignore[arg-type]
            psnr_db=50.0, worst_psnr_db=36.0 if "openvino" in text else 45.0, lost_db=0.05
        ),
    )


def _graph() -> Any:
    return SimpleNamespace(
        sigma_s=0.25,
        enforce_gates=True,
        precision="int8",
        precision_record=lambda excluded: excluded,
    )


@pytest.mark.parametrize("shared", [False, True])
def test_one_file_for_each_graph(shared: bool, tmp_path: Path) -> None:
    """Runtimes that take the same graph share a file; recipes are written for both."""
    quantized = _quantized(shared=shared)
    emitted = OnnxTarget().emit(_graph(), quantized, tmp_path, SILENT)
    other = "model.onnx" if shared else "model-openvino.onnx"
    assert emitted.artifact.name == "model.onnx"
    assert emitted.target.runtimes == {"onnxruntime": "model.onnx", "openvino": other}
    extra = {path.name: role for path, role in emitted.extra_files.items()}
    recipes = dict.fromkeys(("recipe-onnxruntime.json", "recipe-openvino.json"), "documentation")
    alternatives = {} if shared else {other: "artifact for another runtime"}
    assert extra == recipes | alternatives
    assert {path.name for path in tmp_path.iterdir()} == {"model.onnx", *extra}
    assert emitted.target.details["num_nodes"] == 1
    assert emitted.target.details["opset"] == 20
    assert set(emitted.target.details["recipes"]) == set(RUNTIMES)
    assert emitted.precision == {"first": "why"}
    assert [spec.name for spec in (*emitted.inputs, *emitted.outputs)] == ["image", "restored"]
    names = [onnx.load(tmp_path / name).graph.node[0].name for name in ("model.onnx", other)]
    assert names == ["first", "first" if shared else "second"]


def test_every_runtime_s_file_is_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By what its own worst photo has; a missed gate is an error if gates are enforced."""
    quantized = _quantized(shared=False)
    emitted = OnnxTarget().emit(_graph(), quantized, tmp_path, SILENT)
    checks = OnnxTarget().verify(_graph(), quantized, emitted, SILENT)
    assert [(c.form, c.metric, c.value) for c in checks] == [
        ("int8 in onnxruntime", "psnr_db", 45.0),
        ("int8 in onnxruntime", "lost_db", 0.05),
        ("int8 in openvino", "psnr_db", 36.0),
        ("int8 in openvino", "lost_db", 0.05),
    ]
    monkeypatch.setattr("export.int8.gates.MIN_PSNR_INT8", 40.0)
    with pytest.raises(ParityError, match="int8 in openvino misses its gate"):
        OnnxTarget().verify(_graph(), quantized, emitted, SILENT)
    loose = _graph()
    loose.enforce_gates = False
    checks = OnnxTarget().verify(loose, quantized, emitted, SILENT)
    assert [check.passed for check in checks] == [True, True, False, True]
