"""Bundles are named for what they hold; none silently takes another's place."""

import dataclasses
import json
from pathlib import Path

import pytest
from PIL import Image

from elir_edge.checkpoints.own import embedded_path, read_checkpoint
from elir_edge.errors import UsageError
from elir_edge.runtime.manifest import MANIFEST_NAME
from export import request
from export.naming import bundle_name, require_replaceable
from export.plan import run_export
from export.request import Request, _device_name, _photos_digest

_DEFAULTS = {
    "target": "onnx",
    "precision": "fp32",
    "size": 256,
    "batch": 1,
    "noise": "constant",
    "device": None,
}


@pytest.mark.parametrize(
    ("changed", "ending"),
    [
        ({}, "onnx-fp32"),
        ({"precision": "int8"}, "onnx-int8"),
        ({"precision": "int8", "quick": True}, "onnx-int8-quick"),
        ({"size": 512}, "onnx-fp32-512"),
        ({"batch": 4}, "onnx-fp32-batch4"),
        ({"noise": "input"}, "onnx-fp32-inputnoise"),
        ({"target": "tensorrt", "device": "sm86"}, "tensorrt-fp32-sm86"),
        ({"size": 64, "batch": 2, "noise": "zero"}, "onnx-fp32-64-batch2-zeronoise"),
    ],
)
def test_names_say_what_is_not_the_default(changed: dict[str, object], ending: str) -> None:
    shipped = read_checkpoint(embedded_path("denoising", "nano"), task="denoising")
    name = bundle_name(shipped, **(_DEFAULTS | changed))  # type: ignore[arg-type]
    assert name == f"denoising-nano-{ending}"


def test_other_weights_go_by_their_hash(tiny_checkpoint: Path) -> None:
    shipped = read_checkpoint(embedded_path("denoising", "nano"), task="denoising")
    other = dataclasses.replace(shipped, sha256="0123456789abcdef")
    assert bundle_name(other, **_DEFAULTS) == "denoising-nano-onnx-fp32-01234567"  # type: ignore[arg-type]
    tiny = read_checkpoint(tiny_checkpoint, task="denoising")
    name = bundle_name(tiny, **_DEFAULTS)  # type: ignore[arg-type]
    assert name == f"denoising-tiny-onnx-fp32-{tiny.sha256[:8]}"


def test_the_default_size_is_the_task_s() -> None:
    faces = read_checkpoint(embedded_path("bfr", "nano"), task="bfr")
    assert bundle_name(faces, **_DEFAULTS | {"size": 512}) == "bfr-nano-onnx-fp32"  # type: ignore[arg-type]
    assert bundle_name(faces, **_DEFAULTS) == "bfr-nano-onnx-fp32-256"  # type: ignore[arg-type]


def _request(checkpoint: Path, out: Path, **options: object) -> Request:
    return Request(
        task="denoising", target="onnx", size=64, checkpoint=checkpoint, out=out, **options
    )  # type: ignore[arg-type]


def test_the_same_request_replaces_another_needs_force(
    tiny_checkpoint: Path, tmp_path: Path
) -> None:
    first = run_export(_request(tiny_checkpoint, tmp_path)).folder
    assert run_export(_request(tiny_checkpoint, tmp_path)).folder == first
    kept = (first / MANIFEST_NAME).read_bytes()
    with pytest.raises(
        UsageError, match=r"holds a bundle of another request; .*rewrites fold_scales"
    ):
        run_export(_request(tiny_checkpoint, tmp_path, rewrites=("fold_scales",)))
    assert (first / MANIFEST_NAME).read_bytes() == kept
    forced = run_export(_request(tiny_checkpoint, tmp_path, rewrites=("fold_scales",), force=True))
    assert forced.folder == first
    assert (first / MANIFEST_NAME).read_bytes() != kept


def test_photos_of_one_folder_s_name_are_told_apart(tmp_path: Path) -> None:
    for name, sides in (("a", (8, 9)), ("b", (8, 10)), ("c", (8, 9))):
        for i, side in enumerate(sides):
            path = tmp_path / name / "photos" / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (side, 40)).save(path.with_suffix(".bmp"))
    digests = [_photos_digest(tmp_path / name / "photos") for name in "abc"]
    assert digests[0] != digests[1]
    assert digests[0] == digests[2]


def test_the_default_gpu_has_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [_device_name(gpu) for gpu in (None, "sm75", "sm86")] == [None, None, "sm86"]
    monkeypatch.setattr(request, "gpu_here", lambda: "sm89")
    assert _device_name("current") == "sm89"
    monkeypatch.setattr(request, "gpu_here", lambda: "sm75")
    assert _device_name("current") is None


def _manifest(folder: Path, text: str) -> Path:
    folder.mkdir()
    (folder / MANIFEST_NAME).write_text(text, encoding="utf-8")
    return folder


def test_what_may_be_replaced(tmp_path: Path) -> None:
    request = {"checkpoint": "abc", "crops": ""}
    require_replaceable(tmp_path / "missing", request, force=False)
    (tmp_path / "empty").mkdir()
    require_replaceable(tmp_path / "empty", request, force=False)
    same = _manifest(tmp_path / "same", json.dumps({"request": request}))
    require_replaceable(same, request, force=False)


@pytest.mark.parametrize(
    "text", ["{}", "[]", "{", '{"request": {"checkpoint": "abd"}}', "[" * 9999]
)
def test_bundles_of_other_requests(text: str, tmp_path: Path) -> None:
    request = {"checkpoint": "abc", "crops": ""}
    other = _manifest(tmp_path / "other", text)
    with pytest.raises(UsageError, match=r"of another request; expected this one: checkpoint abc;"):
        require_replaceable(other, request, force=False)
    require_replaceable(other, request, force=True)


@pytest.mark.parametrize("force", [True, False])
def test_what_is_no_bundle_is_never_replaced(force: bool, tmp_path: Path) -> None:
    (tmp_path / "holidays").mkdir()
    (tmp_path / "holidays" / "a.jpg").touch()
    (tmp_path / "file").touch()
    for name in ("holidays", "file"):
        with pytest.raises(UsageError, match="exists and is not a bundle; fix: pass another"):
            require_replaceable(tmp_path / name, {}, force=force)
