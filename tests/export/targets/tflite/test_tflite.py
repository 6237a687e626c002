"""TFLite bundles of a tiny model: every precision, both layouts of noise, what phones accept."""

import dataclasses
import importlib.util
import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from PIL import Image

import export.int8.cache as cache
import export.targets.tflite.target as target_module
from elir_edge.checkpoints.own import Checkpoint, save_checkpoint
from elir_edge.data.datasets import to_float
from elir_edge.errors import BackendError, ExportError, ParityError
from elir_edge.metrics import psnr
from elir_edge.runtime import Bundle, Restorer
from elir_edge.runtime.backends import open_backend
from elir_edge.runtime.backends.litert import LiteRtBackend
from export.plan import ExportResult, run_export
from export.qdq.convolutions import work_of_convolutions
from export.request import Request
from export.targets.tflite.candidates import stage_of
from export.targets.tflite.delegates import judge_operations
from export.targets.tflite.file import Operation, read_metadata, read_operations, with_byte_images
from export.targets.tflite.quantize import TflitePlacement
from export.targets.tflite.target import METADATA
from tests.conftest import make_model, tiny_published_like
from tests.export.readme import run_blocks

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("litert_torch") is None, reason="needs the extra `tflite`"
)


def _request(checkpoint: Path, out: Path, **changes: object) -> Request:
    request = Request(task="denoising", target="tflite", size=64, checkpoint=checkpoint, out=out)
    return dataclasses.replace(request, **changes)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def plain(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> ExportResult:
    out = tmp_path_factory.mktemp("fp32")
    return run_export(_request(tiny_checkpoint, out, precision="fp32"))


@pytest.fixture(scope="module")
def quantized(
    quick_search: None, tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> ExportResult:
    """Return an int8 bundle of random weights, whose gates are recorded only."""
    out = tmp_path_factory.mktemp("int8")
    return run_export(_request(tiny_checkpoint, out, crops=4, enforce_gates=False))


def test_fp32_is_what_onnx_runtime_gives(
    plain: ExportResult, tiny_bundle: Path, photo: np.ndarray
) -> None:
    """Of two files of the same weights, 8-bit images of any size: at most one level apart."""
    ours = Restorer(plain.folder).restore(photo).astype(int)
    theirs = Restorer(tiny_bundle).restore(photo).astype(int)
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() <= 1
    assert np.abs(ours - theirs[::-1]).max() > 1


def test_the_manifest_describes_the_file(plain: ExportResult, quantized: ExportResult) -> None:
    for exported, dtype, high in ((plain, "float32", 1.0), (quantized, "uint8", 255.0)):
        manifest = Bundle.open(exported.folder).manifest
        (image,), (restored,) = manifest.inputs, manifest.outputs
        for spec in (image, restored):
            assert (spec.shape, spec.layout, spec.dtype) == ((1, 64, 64, 3), "NHWC", dtype)
            assert spec.high == high
        details = manifest.target.details
        assert details["layout_operations"] == 0
        assert details["rejected"] == {"gpu": [], "hexagon": [], "xnnpack": []}
        assert details["operations"]["CONV_2D"] > 10
        inside = json.loads(read_metadata(exported.folder / "model.tflite", METADATA))
        assert inside["task"] == "denoising"
        assert [t["dtype"] for t in inside["tensors"]] == [dtype, dtype]
    with pytest.raises(ExportError, match="no metadata named OTHER"):
        read_metadata(plain.folder / "model.tflite", "OTHER")


def test_the_readme_s_code_runs_as_it_stands(
    plain: ExportResult, quantized: ExportResult, tmp_path: Path
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (70, 100, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "random.png")
    for exported in (plain, quantized):
        bundle = shutil.copytree(exported.folder, tmp_path / exported.folder.name)
        made = run_blocks(bundle, tmp_path / "random.png")
        assert [image.shape for image in made] == [(70, 100, 3)] * 3


@pytest.mark.slow
def test_published_form_needs_no_layout_operation(tmp_path: Path) -> None:
    """With group norms, nearest upsampling and kernels of 4; with the rewrites, that is."""
    checkpoint = tmp_path / "checkpoint.safetensors"
    model = make_model(tiny_published_like())
    content = Checkpoint(task="denoising", config=model.config, state=model.state_dict())
    save_checkpoint(checkpoint, content, dtype=torch.float32)
    exported = run_export(_request(checkpoint, tmp_path, precision="fp32"))
    details = Bundle.open(exported.folder).manifest.target.details
    assert details["layout_operations"] == 0
    assert details["operations"]["RSQRT"] > 0
    with pytest.raises(ExportError, match="RESIZE_NEAREST_NEIGHBOR: not supported"):
        run_export(
            _request(checkpoint, tmp_path / "b", precision="fp32", rewrites=("fold_scales",))
        )


def test_int8_says_how_it_was_made(quantized: ExportResult) -> None:
    manifest = Bundle.open(quantized.folder).manifest
    assert manifest.precision.name == "int8"  # the default
    assert manifest.precision.calibration_count == 4
    gates = [check for check in manifest.validation if check.form == "int8 in litert"]
    assert [check.metric for check in gates] == ["psnr_db", "lost_db"]
    recipe = json.loads((quantized.folder / "recipe-litert.json").read_text())
    assert set(recipe["milliseconds"]) == {"float32", *TflitePlacement}
    kinds = {operation.kind for operation in read_operations(quantized.folder / "model.tflite")}
    assert {"QUANTIZE", "DEQUANTIZE"} <= kinds


def test_int8_is_near_fp32(plain: ExportResult, quantized: ExportResult, photo: np.ndarray) -> None:
    expected = to_float(Restorer(plain.folder).restore(photo))
    got = to_float(Restorer(quantized.folder).restore(photo))
    assert psnr(expected, got) > 25  # random weights
    assert psnr(expected, got[::-1].copy()) < 25


def test_fp16_halves_the_file(plain: ExportResult, tiny_checkpoint: Path, tmp_path: Path) -> None:
    half = run_export(_request(tiny_checkpoint, tmp_path, precision="fp16"))
    sizes = [(e.folder / "model.tflite").stat().st_size for e in (half, plain)]
    assert sizes[0] < 0.8 * sizes[1]
    checks = Bundle.open(half.folder).manifest.validation
    (check,) = [c for c in checks if c.form == "artifact in litert"]
    assert 50 <= check.value < 150  # rounded, and not too much


def test_noise_as_an_input(tiny_checkpoint: Path, tmp_path: Path) -> None:
    exported = run_export(_request(tiny_checkpoint, tmp_path, precision="fp32", noise="input"))
    image, noise = Bundle.open(exported.folder).manifest.inputs
    assert noise.shape[1:3] == (8, 8)
    rng = np.random.default_rng(0)
    backend = LiteRtBackend(exported.folder / "model.tflite", 1)
    feed = {"image": rng.random(image.shape, np.float32)}
    zero, some = (
        backend.run({**feed, "noise": scale * rng.random(noise.shape, np.float32)})["restored"]
        for scale in (np.float32(0), np.float32(1))
    )
    assert np.abs(zero - some).max() > 0.01


def test_a_missed_gate_leaves_nothing(
    quantized: ExportResult, tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the finding of the export before is used again."""

    def search_again(*arguments: object, **options: object) -> None:
        pytest.fail("searched again")

    with monkeypatch.context() as patch:
        patch.setattr(cache, "find", search_again)
        again = run_export(_request(tiny_checkpoint, tmp_path, crops=4, enforce_gates=False))
    assert (again.folder / "model.tflite").read_bytes() == (
        quantized.folder / "model.tflite"
    ).read_bytes()
    monkeypatch.setattr("export.int8.gates.MIN_PSNR_INT8", 150.0)
    with pytest.raises(ParityError, match=r"misses its gate.*expected psnr_db >= 150"):
        run_export(_request(tiny_checkpoint, tmp_path / "gated", crops=4))
    assert list((tmp_path / "gated").iterdir()) == []


def test_files_that_phones_reject_are_refused(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(target_module, "read_operations", lambda path: [_operation(rank=5)])
    with pytest.raises(ExportError, match=r"gpu: ADD: 5 axes, 4 at most"):
        run_export(_request(tiny_checkpoint, tmp_path, precision="fp32"))
    assert list(tmp_path.iterdir()) == []


def test_table_of_delegates() -> None:
    whole = judge_operations([_operation(), _operation(kind="CONV_2D")], [])
    assert whole.operations == {"ADD": 1, "CONV_2D": 1}
    assert not any(whole.rejected.values())
    assert judge_operations([_operation(kind="TRANSPOSE")], []).layout_operations == 1
    for operation, fault in (
        (_operation(kind="BROADCAST_TO"), "BROADCAST_TO: not supported"),
        (_operation(rank=5), "ADD: 5 axes, 4 at most"),
        (_operation(static=False), "ADD: a size that is not fixed"),
    ):
        assert judge_operations([operation], []).rejected["gpu"] == [fault]
    left = judge_operations([_operation()], ["ADD"])
    assert left.rejected["xnnpack"] == ["ADD: left by XNNPACK"]


@pytest.mark.parametrize(
    ("kind", "gpu", "hexagon"),
    [
        ("CONV_2D", True, True),
        ("TRANSPOSE_CONV", True, True),
        ("DEPTH_TO_SPACE", False, True),
        ("RSQRT", True, False),
        ("RESHAPE", True, True),
        ("BROADCAST_TO", False, False),
        ("GATHER", False, False),
        ("SPLIT", False, False),
        ("RESIZE_NEAREST_NEIGHBOR", False, False),
    ],
)
def test_who_takes_what(kind: str, gpu: bool, hexagon: bool) -> None:
    rejected = judge_operations([_operation(kind=kind)], []).rejected
    assert {name: not faults for name, faults in rejected.items()} == {
        "xnnpack": True,
        "gpu": gpu,
        "hexagon": hexagon,
    }


def test_four_axes_are_the_most() -> None:
    assert not any(judge_operations([_operation(rank=4)], []).rejected.values())
    assert all(
        judge_operations([_operation(rank=5)], []).rejected[name] for name in ("gpu", "hexagon")
    )


def test_convolutions_work_as_in_onnx(tiny_checkpoint: Path, tmp_path: Path) -> None:
    """The same multiply-accumulates, transposed convolutions among them; rewrites may differ."""
    request = _request(tiny_checkpoint, tmp_path, precision="fp32", rewrites=())
    bundle = run_export(dataclasses.replace(request, target="onnx")).folder
    expected = work_of_convolutions(onnx.load(bundle / "model.onnx"))
    operations = read_operations(run_export(request).folder / "model.tflite")
    assert any(o.kind == "TRANSPOSE_CONV" for o in operations)
    found = [o.work.macs for o in operations if o.work is not None]
    assert sum(found) == sum(work.macs for work in expected.values())
    assert all((o.work is None) == ("CONV" not in o.kind) for o in operations)


def test_stages_by_name() -> None:
    def stage(name: str) -> str:
        return stage_of(dataclasses.replace(_operation(), outputs=(name,)))

    assert stage("a/x.Encoder_encoder/c;1;a/y.StaticDecoder_decoder") == "latent"
    assert stage("a/x.CoarseEstimator_coarse/c") == "coarse"
    steps = "a/export.static.unroll.StaticStep_2/c;;a/export.static.unroll.StaticStep_0/c"
    assert stage(steps) == "step_3"
    assert stage("serving_default_restored_output") == "decoded"


def test_backend_refuses_in_one_line(plain: ExportResult, tmp_path: Path) -> None:
    broken = tmp_path / "model.tflite"
    broken.write_bytes(b"no model")
    with pytest.raises(BackendError, match=r"refuses model\.tflite"):
        open_backend("litert", broken, 1)
    backend = open_backend("litert", plain.folder / "model.tflite", 1)
    for feed in (
        {},
        {"image": np.zeros((1, 3, 64, 64), np.float32)},
        {"image": np.zeros((1, 64, 64, 3), np.uint8)},
    ):
        with pytest.raises(BackendError, match="cannot run the artifact"):
            backend.run(feed)


def test_byte_images_only_once(quantized: ExportResult, tmp_path: Path) -> None:
    copied = tmp_path / "model.tflite"
    copied.write_bytes((quantized.folder / "model.tflite").read_bytes())
    with pytest.raises(ExportError, match="image is not float32"):
        with_byte_images(copied)


def _operation(*, kind: str = "ADD", rank: int = 4, static: bool = True) -> Operation:
    return Operation(
        kind=kind, inputs=("a", "b"), outputs=("c",), relu=False, rank=rank, static=static
    )
