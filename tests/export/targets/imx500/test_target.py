"""The target as a user meets it: refusals in one line, and what is said of its files."""

import dataclasses
from pathlib import Path

import pytest

from elir_edge.errors import CheckpointError, ExportError, UsageError
from elir_edge.tasks import get_task
from export.plan import run_export
from export.request import Request, estimate_fit
from export.targets.imx500.convert import CHIP_BYTES, MEGABYTE, Memory
from export.targets.imx500.usage import intrinsics, tensors, usage
from tests.export.targets.imx500.standin import PARAMETERS


@pytest.fixture
def no_java(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))


@pytest.mark.usefixtures("no_java")
def test_no_java_is_told_before_any_work() -> None:
    with pytest.raises(ExportError, match="needs Java"):
        Request(task="denoising", target="imx500")


@pytest.mark.parametrize("options", [{"noise": "input"}, {"batch": 2}])
def test_one_image_and_nothing_else(options: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="one image and nothing else"):
        Request(task="denoising", target="imx500", **options)  # type: ignore[arg-type]


def _java(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    (folder / "java").write_text("#!/bin/sh\n")
    (folder / "java").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")


def test_full_size_and_too_large_images_are_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _java(monkeypatch, tmp_path)
    assert estimate_fit(Request(task="denoising", target="imx500")).fits
    assert not estimate_fit(Request(task="denoising", target="imx500", model="paper")).fits
    large = Request(task="denoising", target="imx500", size=512, out=tmp_path / "out")
    with pytest.raises(ExportError, match=r"sensor model at 512 x 512 .*use SIZE=288"):
        run_export(large)
    assert not (tmp_path / "out").exists()
    with pytest.raises(UsageError, match="has no size limit to check"):
        estimate_fit(Request(task="denoising", target="onnx"))


def test_a_task_without_weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _java(monkeypatch, tmp_path)
    with pytest.raises(CheckpointError, match="no sensor checkpoint for 'bfr' is shipped"):
        run_export(Request(task="bfr", target="imx500", size=256, model="sensor"))
    # Without a wish it gets nano's, which are too large for the chip at 256 pixels.
    with pytest.raises(ExportError, match=r"nano model at 256 x 256 .*use SIZE=128"):
        run_export(Request(task="bfr", target="imx500", size=256, out=tmp_path / "out"))
    assert estimate_fit(Request(task="bfr", target="imx500", size=128)).fits


def test_usage_and_description() -> None:
    memory = Memory(
        weights=MEGABYTE, running=MEGABYTE, used=2 * MEGABYTE, available=CHIP_BYTES, fits=True
    )
    text = usage(256, get_task("sr"), memory, "a-bundle")
    assert "2.00 of 8.00 MB" in text
    assert "never run on the chip" in text
    assert "no licence" in text
    assert "enlarged 8 times" in text
    assert "enlarged" not in usage(256, get_task("denoising"), memory, "b")
    twice = dataclasses.replace(get_task("sr"), upscale=2)
    assert "enlarged 2 times" in usage(256, twice, memory, "b")
    compile(text.split("```python\n")[1].split("```")[0], "README.md", "exec")
    (tensor,) = tensors(PARAMETERS)["inputs"]
    assert (tensor["scale"], tensor["dimensions"]) == ("0.00390625", [3, 64])
    assert intrinsics()["task"] in (
        "classification",
        "object detection",
        "pose estimation",
        "segmentation",
    )
