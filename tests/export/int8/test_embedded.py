"""int8 of the shipped weights keeps its gates, also on photos of another source."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from elir_edge.checkpoints.own import embedded_path, read_checkpoint
from elir_edge.data.datasets import centre_crop, list_images, read_rgb, to_float
from elir_edge.data.degradations import degrade
from elir_edge.data.operations import to_uint8
from elir_edge.metrics import psnr
from elir_edge.runtime import Bundle, Restorer
from export.parity import MAX_LOST_INT8, MIN_PSNR_INT8
from export.plan import run_export
from export.request import Request
from tests.tampering import fix_up

pytestmark = pytest.mark.slow
_SIZE = 256
_PHOTOS = 10
_RUNTIMES = {"onnx": ("onnxruntime", "openvino"), "tflite": ("litert",)}
_CASES = [*(("onnx", task) for task in ("inpainting", "bsr")), ("tflite", "sr")]
"""Each takes minutes; the other tasks' weights are made alike."""


@pytest.mark.parametrize(("target", "task"), _CASES)
def test_shipped_weights_keep_their_gates(
    target: str, task: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Calibrated on scikit-image's photos; on those of BSDS500 where they are at hand."""
    if target == "tflite":
        pytest.importorskip("litert_torch", reason="needs the extra `tflite`")
    quantized = run_export(
        Request(task=task, target=target, precision="int8", size=_SIZE, out=tmp_path)
    ).folder
    gates = [c for c in Bundle.open(quantized).manifest.validation if c.form.startswith("int8 in")]
    assert len(gates) == 2 * len(_RUNTIMES[target])
    for check in gates:
        print(f"{task}: {check.form}: {check.metric} {check.value:.3f}")
        assert check.passed

    folder = request.getfixturevalue("shared") / "data" / "photos" / "val"
    plain = run_export(Request(task=task, target="onnx", size=_SIZE, out=tmp_path)).folder
    photos = [
        to_float(centre_crop(read_rgb(path), _SIZE)) for path in list_images(folder)[::_PHOTOS]
    ]
    learned = read_checkpoint(embedded_path(task), task=task).degradation
    degraded = [
        to_uint8(degrade(task, clean, np.random.default_rng([3, i]), learned))
        for i, clean in enumerate(photos)
    ]
    reference = _restored(plain, degraded)
    for runtime in _RUNTIMES[target]:
        near, lost = _judge(photos, reference, _restored(quantized, degraded, runtime))
        print(f"{task}: {runtime}: {len(photos)} other photos: {near:.2f} dB, {lost:.3f} dB lost")
        assert near >= MIN_PSNR_INT8
        assert lost <= MAX_LOST_INT8
    # The twin: a single scale of the file, doubled, shows; so does a shift by one pixel.
    if target == "onnx":
        _double_a_scale(quantized / "model.onnx")
        fix_up(quantized, "model.onnx")
    spoilt = [np.roll(image, target != "onnx", 1) for image in _restored(quantized, degraded)]
    near, lost = _judge(photos, reference, spoilt)
    assert near < MIN_PSNR_INT8 or lost > MAX_LOST_INT8


def _restored(
    bundle: Path, images: list[np.ndarray], runtime: str | None = None
) -> list[np.ndarray]:
    restorer = Restorer(bundle, runtime=runtime)
    # Degraded photos are as large as the graph: nothing has to be enlarged.
    return [restorer.run(to_float(image)) for image in images]


def _judge(
    clean: list[np.ndarray], reference: list[np.ndarray], images: list[np.ndarray]
) -> tuple[float, float]:
    """Return what the gates are on: the worst photo's PSNR, the mean lost against the truth, dB."""
    near = [psnr(a, b) for a, b in zip(reference, images, strict=True)]
    lost = [psnr(c, a) - psnr(c, b) for c, a, b in zip(clean, reference, images, strict=True)]
    return float(np.min(near)), float(np.mean(lost))


def _double_a_scale(path: Path) -> None:
    """Spoil the scale of the decoder's last kernel: behind it nothing can make up for that."""
    model = onnx.load(path)
    scales = [
        node.input[1]
        for node in model.graph.node
        if node.op_type == "DequantizeLinear" and node.input[0].startswith("decoder")
    ]
    tensor = next(t for t in model.graph.initializer if t.name == scales[-1])
    tensor.CopyFrom(numpy_helper.from_array(2 * numpy_helper.to_array(tensor), tensor.name))
    onnx.save(model, path)
