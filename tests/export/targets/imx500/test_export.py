"""A whole export for the sensor, with tools of our own in the places of Sony's."""

import dataclasses
import json
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from PIL import Image

import export.targets.imx500.quantizing as quantizing
import export.targets.imx500.target as target_module
from elir_edge.data.datasets import to_float
from elir_edge.errors import ExportError, ParityError
from elir_edge.metrics import psnr
from elir_edge.model import draw_noise
from elir_edge.runtime import Bundle, Restorer
from elir_edge.runtime.manifest import Check
from export.calibration.judge import Quality
from export.plan import ExportResult, run_export
from export.reporting import SILENT
from export.request import Request
from export.static.unroll import static_form
from export.targets.imx500.convert import CHIP_BYTES, MEGABYTE
from export.targets.imx500.handover import ModelDescription
from export.targets.imx500.mct import QUANTIZED
from export.targets.imx500.target import Imx500Target
from tests.conftest import make_model, tiny_config
from tests.export.targets.imx500.standin import Quantizer, install_converter

_SIZE = 64


def _request(checkpoint: Path, out: Path, **changes: object) -> Request:
    request = Request(
        task="denoising",
        target="imx500",
        size=_SIZE,
        checkpoint=checkpoint,
        out=out,
        crops=40,
        enforce_gates=False,  # of random weights
    )
    return dataclasses.replace(request, **changes)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Iterator[pytest.MonkeyPatch]:
    """Have the tools' environments be ours, and Java be found; return what undoes it."""
    folder = install_converter(tmp_path_factory.mktemp("tools") / "environment")
    (folder / "bin" / "java").write_text("#!/bin/sh\n")
    (folder / "bin" / "java").chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(folder / "bin"), prepend=":")
        for module in (quantizing, target_module):
            patch.setattr(module, "environment", lambda name, report: folder)
        yield patch


@pytest.fixture
def quantizer(tools: pytest.MonkeyPatch, monkeypatch: pytest.MonkeyPatch) -> Quantizer:
    made = Quantizer()
    monkeypatch.setattr(quantizing, "subprocess", SimpleNamespace(run=made.run))
    return made


@pytest.fixture(scope="module")
def exported(
    tools: pytest.MonkeyPatch, tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[ExportResult, Quantizer, list[str]]:
    """Return a bundle whose quantizer made images redder by 3 of 255, and what was told."""
    made, told = Quantizer(tint=3 / 255), list[str]()

    def progress(stage: str, detail: str, done: float | None) -> None:
        told.append(detail)

    request = _request(tiny_checkpoint, tmp_path_factory.mktemp("out"))
    with tools.context() as patch:
        patch.setattr(quantizing, "subprocess", SimpleNamespace(run=made.run))
        return run_export(request, progress), made, told


Exported = tuple[ExportResult, Quantizer, list[str]]


def test_the_files(exported: Exported) -> None:
    """And none of those that only the tools need."""
    folder = exported[0].folder
    roles = {entry.path: entry.role for entry in Bundle.open(folder).manifest.files}
    assert roles == {
        "README.md": "documentation",
        "description.json": "documentation",
        "emulation.onnx": "artifact",
        "golden_input.png": "golden",
        "golden_output.png": "golden",
        "intrinsics.json": "documentation",
        "memory-report.json": "documentation",
        "packerOut.zip": "sensor firmware",
        "preview.png": "documentation",
        "quantized.onnx": "quantized model",
    }
    names = {path.name for path in folder.iterdir()}
    assert names == {*roles, "manifest.json", "manifest.sha256"}
    assert zipfile.ZipFile(folder / "packerOut.zip").testzip() is None
    description = json.loads((folder / "description.json").read_text())
    assert [each["dimensions"] for each in description["inputs"]] == [[3, 64]]
    assert [each["serialization"] for each in description["inputs"]] == [[2, 0]]
    assert [each["name"] for each in description["outputs"]] == ["output"]
    assert "task" in json.loads((folder / "intrinsics.json").read_text())
    readme = (folder / "README.md").read_text()
    assert "4.50 of 8.00 MB (0.50 weights, 4.00 running)" in readme
    assert f"imx500-package -i {folder.name}/packerOut.zip" in readme
    assert f"(3, {_SIZE}, {_SIZE}) float32" in readme


def test_the_manifest(exported: Exported) -> None:
    manifest = Bundle.open(exported[0].folder).manifest
    (image,), (restored,) = manifest.inputs, manifest.outputs
    assert (image.name, restored.name) == ("image", "restored")
    for spec in (image, restored):
        assert spec.shape == (1, _SIZE, _SIZE, 3)
        assert (spec.role, spec.dtype, spec.layout, spec.colour) == (
            "image",
            "uint8",
            "NHWC",
            "RGB",
        )
        assert (spec.low, spec.high, spec.scale, spec.zero_point) == (0, 255, 1 / 256, 0)
    assert manifest.precision.name == "int8"
    assert manifest.precision.calibration_count == 32
    assert len(manifest.precision.calibration_sha256 or "") == 64
    details = manifest.target.details
    assert details["memory"] == {
        "weights": MEGABYTE // 2,
        "running": 4 * MEGABYTE,
        "used": 9 * MEGABYTE // 2,
        "available": CHIP_BYTES,
        "fits": True,
    }
    assert (details["available"], details["chip"]) == (8 * MEGABYTE, "IMX500")
    assert details["run_on_the_chip"] is False
    assert manifest.target.runtimes == {"onnxruntime": "emulation.onnx"}
    assert set(manifest.target.versions) == {
        "imx500-converter",
        "model-compression-toolkit",
        "torch",
    }
    metrics = {check.form: check.metric for check in manifest.validation if "emul" in check.form}
    assert metrics == {"emulation": "psnr_db", "int8 in the sensor's emulation": "lost_db"}


def test_steps_share_their_kernels(exported: Exported) -> None:
    """Which the quantizer wrote once for each step."""
    folder = exported[0].folder
    count = Bundle.open(folder).manifest.target.details["shared_constants"]
    graph = onnx.load(folder / "quantized.onnx").graph
    kernels = [node for node in graph.node if node.op_type.startswith("Weights")]
    readers = [node for node in graph.node if node.op_type in ("Conv", "ConvTranspose")]
    assert len(kernels) < len(readers)
    assert count >= len(readers) - len(kernels)


def test_what_the_worker_is_asked(exported: Exported) -> None:
    _, quantizer, told = exported
    ((command, options),) = quantizer.calls
    assert command[1:3] == ["-m", "export.targets.imx500.worker"]
    assert Path(command[0]).name == "python"
    assert (Path(options["cwd"]) / "export" / "targets" / "imx500" / "worker.py").is_file()
    assert quantizer.seen is not None
    assert quantizer.seen.shape == (32, _SIZE, _SIZE, 3)
    assert "quantizing for the sensor" in told
    assert "converting for the sensor" in told


def test_the_mean_colour_is_corrected(exported: Exported, tiny_bundle: Path) -> None:
    """On a photo that no correction saw, to one level; red was 3 levels off."""
    image = to_float(np.asarray(Image.open(tiny_bundle / "golden_input.png")))
    expected = Restorer(tiny_bundle).run(image)
    got = Restorer(exported[0].folder).run(image)
    shift = 255 * (got - expected).mean((0, 1))
    assert np.abs(shift).max() < 1
    assert psnr(expected, got) > 35
    for other in (got[::-1], got[:, ::-1], got[..., ::-1]):
        assert psnr(expected, other) < 35


def test_a_quantizer_that_computes_something_else(
    quantizer: Quantizer, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    """Its own result on one image decides, at 40 dB: an error of 1/50 of white is 34 dB."""
    quantizer.error = 1 / 50
    with pytest.raises(ParityError, match=r"departs from the quantizer's operators .*psnr_db"):
        run_export(_request(tiny_checkpoint, tmp_path, crops=2))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("near", "lost", "passes"),
    [(35.0, 0.1, True), (34.99, 0.1, False), (35.0, 0.101, False), (float("nan"), 0.0, False)],
)
def test_the_gates(near: float, lost: float, passes: bool, exported: Exported) -> None:
    """Of the worst photo and of the mean loss: enforced, or recorded where they are not."""
    made = exported[0].content.emitted
    emitted = dataclasses.replace(made, artifact=exported[0].folder / made.artifact.name)
    emulation_check = next(c for c in exported[0].content.checks if c.form == "emulation")
    quality = Quality(psnr_db=50.0, worst_psnr_db=near, lost_db=lost)
    quantized = SimpleNamespace(
        gate_judge=lambda run, report: quality, emulation_check=emulation_check
    )

    def verify(*, enforced: bool) -> list[Check]:
        graph = SimpleNamespace(enforce_gates=enforced)
        return Imx500Target().verify(graph, quantized, emitted, SILENT)  # type: ignore[arg-type]

    checks = verify(enforced=False)
    assert checks[0] is emulation_check
    assert [check.metric for check in checks[1:]] == ["psnr_db", "lost_db"]
    assert all(check.passed for check in checks) is passes
    if passes:
        assert verify(enforced=True) == checks
    else:
        with pytest.raises(
            ParityError, match=r"quantized for the sensor misses its gate.*`sensor`"
        ):
            verify(enforced=True)


def _quantize(folder: Path) -> None:
    model = make_model(tiny_config())
    static = static_form(model, draw_noise(model.config, _SIZE, _SIZE))
    description = ModelDescription(config=model.config, rewrites=(), size=_SIZE)
    images = [np.zeros((_SIZE, _SIZE, 3), np.float32)]
    quantizing.quantize(static, description, images, folder, lambda text: None)


@pytest.mark.parametrize(
    ("code", "written", "said", "got"),
    [
        (1, False, "Traceback\nImportError: no torch\n", "got ImportError: no torch; fix"),
        (1, False, "", "got no message; fix"),
        (0, False, "warning\nodd", "got odd; fix"),
        (1, True, "killed", "got killed; fix: remove the environment in "),
        (1, False, "x" * 301, f"got {'x' * 300}; fix"),
    ],
)
def test_a_quantizer_that_fails(
    code: int,
    written: bool,
    said: str,
    got: str,
    tools: pytest.MonkeyPatch,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """By its exit code, or for want of a file; the file of a process that failed is not read."""

    def run(command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        if written:
            (Path(command[-1]) / QUANTIZED).write_bytes(b"half of it")
        return subprocess.CompletedProcess(command, code, "", said)

    monkeypatch.setattr(quantizing, "subprocess", SimpleNamespace(run=run))
    with pytest.raises(ExportError) as caught:
        _quantize(tmp_path)
    assert got in str(caught.value)


def test_a_process_that_fails(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Its last line is told, not the exception that stopped it."""
    folder = tmp_path_factory.mktemp("failing")
    (folder / "bin").mkdir()
    python = folder / "bin" / "python"
    python.write_text("#!/bin/sh\necho 'MemoryError: much' >&2\nexit 7\n")
    python.chmod(0o755)
    monkeypatch.setattr(quantizing, "environment", lambda name, report: folder)
    with pytest.raises(ExportError, match="got MemoryError: much; fix: remove the environment"):
        _quantize(tmp_path)
