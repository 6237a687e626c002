"""Bundles that were altered, cut, or are none."""

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from elir_edge.errors import BackendError, BundleError, ImageError
from elir_edge.runtime import Bundle, Restorer
from elir_edge.runtime.bundle import DIGEST_NAME, describe_file
from elir_edge.runtime.manifest import MANIFEST_NAME
from elir_edge.runtime.selftest import SelfTestResult, run_self_test, verify_bundle
from tests.tampering import change_manifest, fix_up


@pytest.fixture
def bundle(tiny_bundle: Path, tmp_path: Path) -> Path:
    """Return a copy of the tiny bundle that may be damaged."""
    return shutil.copytree(tiny_bundle, tmp_path / "bundle")


def _flip_byte(path: Path, position: int) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)


def test_a_whole_bundle_passes(bundle: Path) -> None:
    result = verify_bundle(bundle, threads=1)
    assert result.passed
    assert result.psnr >= result.min_psnr
    assert result.runtime.startswith("onnxruntime ")


def test_a_moved_bundle_passes(bundle: Path) -> None:
    moved = bundle.rename(bundle.parent / "with space, ünïcode and [brackets]")
    assert verify_bundle(moved, threads=1).passed


@pytest.mark.parametrize(
    "name", ["model.onnx", "golden_input.png", "golden_output.png", "preview.png", "README.md"]
)
@pytest.mark.parametrize("where", ["first", "middle", "last"])
def test_a_changed_byte_is_found(name: str, where: str, bundle: Path) -> None:
    size = (bundle / name).stat().st_size
    _flip_byte(bundle / name, {"first": 0, "middle": size // 2, "last": size - 1}[where])
    with pytest.raises(
        BundleError, match=rf"altered after export; got different content in {name};"
    ):
        Bundle.open(bundle)


def test_all_changed_files_are_named(bundle: Path) -> None:
    for name in ("README.md", "preview.png"):
        _flip_byte(bundle / name, 5)
    with pytest.raises(BundleError, match=r"content in (README\.md, preview|preview\.png, README)"):
        Bundle.open(bundle)


def test_a_changed_manifest_is_found(bundle: Path) -> None:
    path = bundle / MANIFEST_NAME
    path.write_text(path.read_text(encoding="utf-8").replace('"sigma_s": 0.1', '"sigma_s": 0.2'))
    with pytest.raises(
        BundleError, match=r"altered after export; got different content in manifest"
    ):
        Bundle.open(bundle)


def test_a_manifest_without_its_hash(bundle: Path) -> None:
    (bundle / DIGEST_NAME).unlink()
    with pytest.raises(BundleError, match=r"lacks manifest\.sha256; fix: copy the whole"):
        Bundle.open(bundle)


def test_other_programs_can_check_the_manifest(bundle: Path) -> None:
    command = ["sha256sum", "--check", DIGEST_NAME]
    assert subprocess.run(command, cwd=bundle, capture_output=True, check=False).returncode == 0
    (bundle / MANIFEST_NAME).write_text("{}")
    assert subprocess.run(command, cwd=bundle, capture_output=True, check=False).returncode == 1


@pytest.mark.parametrize("name", ["other.onnx", "sub/other.bin", ".hidden"])
def test_files_that_are_not_listed(name: str, bundle: Path) -> None:
    (bundle / name).parent.mkdir(exist_ok=True)
    (bundle / name).touch()
    with pytest.raises(BundleError, match=f"does not list; got {re.escape(name)}; fix: move"):
        Bundle.open(bundle)


def test_what_file_managers_leave_is_no_matter(bundle: Path) -> None:
    (bundle / ".DS_Store").touch()
    Bundle.open(bundle)


def test_a_manifest_of_megabytes(bundle: Path) -> None:
    (bundle / MANIFEST_NAME).write_bytes(b" " * (4 << 20) + b"{}")
    with pytest.raises(BundleError, match="is not a manifest; got 4194306 bytes; expected at most"):
        Bundle.open(bundle)


def test_the_artifact_may_be_about_to_be_made_anew(bundle: Path) -> None:
    _flip_byte(bundle / "model.onnx", 100)
    Bundle.open(bundle, skip_artifact=True)
    _flip_byte(bundle / "preview.png", 100)
    with pytest.raises(BundleError, match=r"different content in preview\.png;"):
        Bundle.open(bundle, skip_artifact=True)


def test_a_cut_file(bundle: Path) -> None:
    artifact = bundle / "model.onnx"
    artifact.write_bytes(artifact.read_bytes()[:1000])
    with pytest.raises(BundleError, match=r"model\.onnx is not the exported file; got 1000 bytes"):
        Bundle.open(bundle)


@pytest.mark.parametrize("name", ["model.onnx", "golden_output.png"])
def test_a_missing_file(name: str, bundle: Path) -> None:
    (bundle / name).unlink()
    with pytest.raises(BundleError, match=f"lacks {name}"):
        Restorer(bundle)


def test_no_bundle(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(BundleError, match=r"is not a bundle; got no manifest\.json"):
            Bundle.open(path)


def test_a_file_is_no_bundle(bundle: Path) -> None:
    with pytest.raises(BundleError, match="is not a bundle"):
        Bundle.open(bundle / "model.onnx")


def test_a_manifest_that_is_no_text(bundle: Path) -> None:
    (bundle / MANIFEST_NAME).write_bytes(b"\xff\xfe{}")
    with pytest.raises(BundleError, match="is not UTF-8"):
        Bundle.open(bundle)


def test_a_manifest_that_is_no_json(bundle: Path) -> None:
    path = bundle / MANIFEST_NAME
    path.write_text(path.read_text(encoding="utf-8")[:500], encoding="utf-8")
    with pytest.raises(BundleError, match="is not JSON"):
        Bundle.open(bundle)


@pytest.mark.parametrize("outside", ["../outside", "sub/../../outside", "ABSOLUTE"])
def test_paths_that_lead_outside(outside: str, bundle: Path) -> None:
    (bundle.parent / "outside").write_bytes(b"secret")
    (bundle / "sub").mkdir()
    name = str(bundle.parent / "outside") if outside == "ABSOLUTE" else outside
    change_manifest(bundle, lambda values: values["files"][0].update(path=name, bytes=6))
    with pytest.raises(BundleError, match="names a file outside it"):
        Bundle.open(bundle)


def test_golden_paths_that_lead_outside(bundle: Path) -> None:
    shutil.copy(bundle / "golden_input.png", bundle.parent / "outside.png")
    change_manifest(bundle, lambda values: values["self_test"].update(input="../outside.png"))
    with pytest.raises(BundleError, match="names a file outside it"):
        verify_bundle(bundle)


def test_links_that_lead_outside(bundle: Path) -> None:
    outside = bundle.parent / "model.onnx"
    (bundle / "model.onnx").rename(outside)
    (bundle / "model.onnx").symlink_to(outside)
    with pytest.raises(BundleError, match="names a file outside it"):
        Bundle.open(bundle)


def test_names_that_no_system_takes(bundle: Path) -> None:
    change_manifest(bundle, lambda values: values["files"][0].update(path="a\0b"))
    with pytest.raises(BundleError, match="names a file"):
        Bundle.open(bundle)


def test_no_artifact(bundle: Path) -> None:
    def change(values: Any) -> None:
        values["files"] = [e for e in values["files"] if e["role"] != "artifact"]

    change_manifest(bundle, change)
    with pytest.raises(BundleError, match="names no artifact"):
        Bundle.open(bundle)


def test_an_unknown_backend(bundle: Path) -> None:
    change_manifest(bundle, lambda values: values["target"].update(backend="abacus"))
    with pytest.raises(BackendError, match=r"unknown backend 'abacus'; expected one of onnxr"):
        Restorer(bundle)


@pytest.mark.parametrize("content", [b"", b"\x00" * 999, b"not an ONNX file"])
def test_an_artifact_that_is_none(content: bytes, bundle: Path) -> None:
    (bundle / "model.onnx").write_bytes(content)
    fix_up(bundle, "model.onnx")
    with pytest.raises(BackendError, match=r"refuses model\.onnx"):
        verify_bundle(bundle)


def test_a_cut_artifact_with_its_hash_fixed_up(bundle: Path) -> None:
    artifact = bundle / "model.onnx"
    artifact.write_bytes(artifact.read_bytes()[: artifact.stat().st_size // 2])
    fix_up(bundle, "model.onnx")
    with pytest.raises(BackendError, match=r"refuses model\.onnx"):
        verify_bundle(bundle)


def test_other_weights_with_their_hash_fixed_up(bundle: Path) -> None:
    """Only running it can tell: the file is a valid model and its hash is the recorded one."""
    import onnx

    model = onnx.load(bundle / "model.onnx")
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            weights = np.frombuffer(tensor.raw_data, np.float32)
            tensor.raw_data = (weights * np.float32(1.05)).tobytes()
    onnx.save(model, bundle / "model.onnx")
    fix_up(bundle, "model.onnx")
    with pytest.raises(BundleError, match=r"gives a different image here.*dB; expected at least"):
        verify_bundle(bundle)


def test_another_golden_output_with_its_hash_fixed_up(bundle: Path) -> None:
    with Image.open(bundle / "golden_output.png") as golden:
        turned = golden.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    turned.save(bundle / "golden_output.png")
    fix_up(bundle, "golden_output.png")
    with pytest.raises(BundleError, match=r"gives a different image here than when it was made"):
        verify_bundle(bundle)
    result = run_self_test(Restorer(bundle, threads=1))
    assert not result.passed
    assert result.psnr < result.min_psnr


def test_golden_images_of_another_size(bundle: Path) -> None:
    Image.new("RGB", (32, 32)).save(bundle / "golden_output.png")
    fix_up(bundle, "golden_output.png")
    with pytest.raises(BundleError, match=r"do not fit its graph.*\(64, 64, 3\)"):
        verify_bundle(bundle)


def test_golden_images_that_are_none(bundle: Path) -> None:
    (bundle / "golden_input.png").write_text("no image")
    fix_up(bundle, "golden_input.png")
    with pytest.raises(ImageError, match="is not an image"):
        verify_bundle(bundle)


@pytest.mark.parametrize(("psnr", "passed"), [(50, True), (35, True), (34.9, False)])
def test_the_limit_itself_passes(psnr: float, passed: bool) -> None:
    assert SelfTestResult(psnr=psnr, min_psnr=35, runtime="").passed is passed


def test_nan_never_passes() -> None:
    assert not SelfTestResult(psnr=float("nan"), min_psnr=35, runtime="").passed
    assert not SelfTestResult(psnr=50, min_psnr=float("nan"), runtime="").passed


def _rename_input(values: Any) -> None:
    values["inputs"][0]["name"] = "other"


def _rename_output(values: Any) -> None:
    values["outputs"][0]["name"] = "other"


def _halve_input(values: Any) -> None:
    values["inputs"][0]["dtype"] = "float16"


def _drop_input(values: Any) -> None:
    values["inputs"] = []


def _bend_layout(values: Any) -> None:
    values["inputs"][0]["layout"] = "NC"


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        (_rename_input, BackendError, "cannot run the artifact"),
        (_halve_input, BackendError, "cannot run the artifact"),
        (_rename_output, BundleError, "no output other"),
        (_drop_input, BundleError, "names 0 tensors for the image"),
        (_bend_layout, BundleError, "layout 'NC'"),
    ],
)
def test_a_manifest_that_does_not_fit_its_artifact(
    change: Callable[[Any], None], kind: type[Exception], message: str, bundle: Path
) -> None:
    change_manifest(bundle, change)
    with pytest.raises(kind, match=message):
        verify_bundle(bundle)


def test_describing_files(bundle: Path) -> None:
    manifest = Bundle.open(bundle).manifest
    entries = [
        describe_file(bundle / entry.path, role=entry.role, folder=bundle)
        for entry in manifest.files
    ]
    assert tuple(entries) == manifest.files
    (bundle / "README.md").write_text("changed")
    changed = describe_file(bundle / "README.md", role="documentation", folder=bundle)
    assert changed not in entries
