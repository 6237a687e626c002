"""TensorRT bundles of a tiny model, really built; no GPU is needed, none is used."""

import dataclasses
import importlib.util
import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import elir_edge.runtime.backends.tensorrt.engine as engine_module
from elir_edge.cli.app import app
from elir_edge.data.datasets import to_float
from elir_edge.errors import BackendError, BundleError, UsageError
from elir_edge.metrics import psnr
from elir_edge.runtime import Bundle, Restorer
from elir_edge.runtime.backends.tensorrt.engine import gpu_here, require_fitting
from elir_edge.runtime.backends.tensorrt.sdk import build_engine, is_malformed, require_sdk
from elir_edge.runtime.manifest import Manifest
from elir_edge.runtime.rebuild import rebuild
from elir_edge.runtime.selftest import verify_bundle
from export.plan import ExportResult, run_export
from export.request import Request
from export.targets.tensorrt.int8 import require_symmetric
from tests.conftest import Run
from tests.export.readme import blocks
from tests.runtime.backends.tensorrt.fakes import fake_cuda

pytestmark = [
    pytest.mark.skipif(
        importlib.util.find_spec("tensorrt_rtx") is None, reason="needs the extra `tensorrt`"
    ),
    pytest.mark.skipif(gpu_here() is not None, reason="is about machines without a GPU"),
]


def _request(checkpoint: Path, out: Path, **changes: object) -> Request:
    request = Request(task="denoising", target="tensorrt", size=64, checkpoint=checkpoint, out=out)
    return dataclasses.replace(request, **changes)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def half(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> ExportResult:
    return run_export(_request(tiny_checkpoint, tmp_path_factory.mktemp("fp16")))


@pytest.fixture(scope="module")
def quantized(
    quick_search: None, tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> ExportResult:
    """Return an int8 bundle of random weights, whose gates are recorded only."""
    out = tmp_path_factory.mktemp("int8")
    changes = {"precision": "int8", "gpu": "sm86", "crops": 4, "enforce_gates": False}
    return run_export(_request(tiny_checkpoint, out, **changes))


def test_fp16_for_turing_by_default(half: ExportResult) -> None:
    manifest = Bundle.open(half.folder).manifest
    engine = manifest.target.engine
    assert engine is not None
    assert (engine.kind, engine.capability, engine.ran) == ("tensorrt-rtx", "sm75", False)
    assert set(manifest.target.details["convolutions"]) == {"Half -> Half"}
    assert manifest.precision.name == "fp16"
    nearness = [c.value for c in manifest.validation if c.form.startswith("fp16")]
    assert len(nearness) > 5
    assert min(nearness) > 50
    assert max(nearness) < 150  # rounded, that is
    plan = (half.folder / "model.engine").read_bytes()
    assert not is_malformed(require_sdk(), plan)
    # a header before it would be the end of it
    assert is_malformed(require_sdk(), b'{"a": 1}' + plan)


def test_int8_for_ampere(quantized: ExportResult) -> None:
    manifest = Bundle.open(quantized.folder).manifest
    engine = manifest.target.engine
    assert engine is not None
    assert engine.capability == "sm86"
    assert set(manifest.target.details["convolutions"]) == {"Int8 -> Float"}
    graph = onnx.load(quantized.folder / "model.onnx")
    require_symmetric(graph)
    recipe = json.loads((quantized.folder / "recipe-trt.json").read_text())["recipe"]
    assert recipe["symmetric"]
    # The same graph for Turing builds as well, and is no int8: why the table refuses it.
    built = build_engine(require_sdk(), graph.SerializeToString(), "sm75")
    assert set(built.convolutions) == {"Float -> Float"}


def test_int8_is_near_fp32(quantized: ExportResult, tiny_bundle: Path, photo: np.ndarray) -> None:
    expected = to_float(Restorer(tiny_bundle).restore(photo))
    got = to_float(Restorer(quantized.folder, runtime="onnxruntime").restore(photo))
    assert psnr(expected, got) > 25  # random weights
    assert psnr(expected, got[::-1].copy()) < 25


def test_what_cannot_be_is_refused_at_once(tiny_checkpoint: Path, tmp_path: Path) -> None:
    for changes, error, match in (
        ({"precision": "int8"}, UsageError, "no int8 on sm75"),
        ({"gpu": "sm99"}, UsageError, "unknown GPU 'sm99'"),
        ({"gpu": "current"}, BackendError, "no CUDA device here"),
        ({"target": "onnx", "gpu": "sm75"}, UsageError, "leave out --gpu"),
        ({"target": "tflite", "gpu": "sm75"}, UsageError, "leave out --gpu"),
    ):
        with pytest.raises(error, match=match):
            _request(tiny_checkpoint, tmp_path, **changes)


def test_noise_as_an_input(tiny_checkpoint: Path, tmp_path: Path) -> None:
    exported = run_export(_request(tiny_checkpoint, tmp_path, noise="input"))
    assert [spec.name for spec in exported.content.emitted.inputs] == ["image", "noise"]


def test_a_refused_graph_leaves_nothing(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> None:
        raise BackendError("cannot build an engine")

    monkeypatch.setattr(engine_module, "build_engine", refuse)
    with pytest.raises(BackendError, match="cannot build"):
        run_export(_request(tiny_checkpoint, tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_verify_without_a_gpu_and_with_another(half: ExportResult, tmp_path: Path) -> None:
    with pytest.raises(BackendError, match=r"needs an NVIDIA GPU.*--runtime onnxruntime"):
        verify_bundle(half.folder)
    assert verify_bundle(half.folder, runtime="onnxruntime").passed
    bundle = Bundle.open(half.folder)
    turing, ampere = fake_cuda(major=7, minor=5)[0], fake_cuda(major=8, minor=6)[0]
    require_fitting(bundle, cuda=turing)
    with pytest.raises(BundleError, match=r"another GPU; got sm86; expected sm75.*build-engine"):
        require_fitting(bundle, cuda=ampere)
    other = dataclasses.replace(require_sdk(), version="0.1")
    with pytest.raises(BundleError, match=r"another tensorrt-rtx; got 0\.1.*build-engine"):
        require_fitting(bundle, sdks=[other], cuda=turing)
    # Hashes come before anything loads the engine.
    tampered = tmp_path / "tampered"
    shutil.copytree(half.folder, tampered)
    plan = bytearray((tampered / "model.engine").read_bytes())
    plan[1000] ^= 1
    (tampered / "model.engine").write_bytes(plan)
    with pytest.raises(BundleError, match=r"different content in model\.engine"):
        verify_bundle(tampered)
    rebuild(tampered, "sm75")
    Bundle.open(tampered)
    (tampered / "model.onnx").write_bytes((tampered / "model.onnx").read_bytes()[:-1] + b"!")
    with pytest.raises(BundleError, match=r"different content in model\.onnx"):
        rebuild(tampered, "sm75")


def test_build_engine(half: ExportResult, tmp_path: Path, run_any: Run) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(half.folder, folder)
    done = run_any(app, "build-engine", folder, "--gpu", "sm89")
    assert done.code == 0, done.err
    assert "for sm89 by tensorrt-rtx" in done.out
    bundle = Bundle.open(folder)
    assert bundle.manifest.target.engine is not None
    assert bundle.manifest.target.engine.capability == "sm89"
    assert (folder / "model.onnx").read_bytes() == (half.folder / "model.onnx").read_bytes()
    assert "sm89" in run_any(app, "info", folder).out
    done = run_any(app, "build-engine", folder)
    assert (done.code, done.err.count("\n")) == (1, 1)
    assert "no CUDA device here" in done.err
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_a_failed_rebuild_changes_nothing(
    half: ExportResult, tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(half.folder, folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    monkeypatch.setattr(Manifest, "to_json", _fail)
    with pytest.raises(OSError, match="disk full"):
        rebuild(folder, "sm86")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]
    with pytest.raises(UsageError, match="has no engine"):
        rebuild(tiny_bundle)


def _fail(self: Manifest) -> str:
    raise OSError("disk full")


def test_the_parser_names_what_it_refuses() -> None:
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3])
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3])
    node = helper.make_node("NoSuchOperator", ["x"], ["y"], name="odd", domain="odd")
    graph = helper.make_graph([node], "g", [value], [result])
    with pytest.raises(BackendError, match=r"cannot read the ONNX graph; got odd: "):
        build_engine(require_sdk(), helper.make_model(graph).SerializeToString(), "sm75")


def test_the_readme_s_code(half: ExportResult, tmp_path: Path) -> None:
    """Without a GPU, Python can only be compiled, and the engine be named."""
    for code in blocks(half.folder / "README.md", "python"):
        compile(code, "README.md", "exec")
    commands = "\n".join(blocks(half.folder / "README.md", "sh")).splitlines()
    assert f"elir-edge build-engine {half.folder.name}" in commands
