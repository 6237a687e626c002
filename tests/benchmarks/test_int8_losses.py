"""Losses of int8 are what they are by hand, and a bundle that cannot be made is told."""

import json
import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import typer
from numpy.typing import NDArray
from PIL import Image

from benchmarks import int8_losses
from benchmarks.int8_losses import losses
from elir_edge.errors import ElirError, ParityError, UsageError
from export.request import Request

Float = NDArray[np.float32]


def _flat(*values: float) -> list[Float]:
    return [np.full((4, 4, 3), value, np.float32) for value in values]


def test_losses_by_hand() -> None:
    """PSNR of a constant difference d is -20 log10 d; tolerance 1e-4 dB, float32's."""
    clean, reference = _flat(0.5, 0.5), _flat(0.6, 0.4)
    loss = losses(clean, reference, _flat(0.61, 0.401))
    near = [40.0, 60.0]
    lost = [20 * math.log10(0.11 / 0.1), 20 * math.log10(0.099 / 0.1)]
    assert loss.psnr_db == pytest.approx(np.mean(near), abs=1e-3)
    assert loss.worst_psnr_db == pytest.approx(min(near), abs=1e-3)
    assert loss.lost_db == pytest.approx(np.mean(lost), abs=1e-4)
    assert loss.worst_lost_db == pytest.approx(lost[0], abs=1e-4)
    assert loss.lost_error_db == pytest.approx(abs(lost[0] - lost[1]) / 2, abs=1e-4)
    assert not loss.passed  # 0.37 dB
    assert losses(clean, reference, _flat(0.601, 0.401)).passed
    assert losses(clean[:1], reference[:1], _flat(0.601)).lost_error_db is None


def test_each_gate_alone_is_missed() -> None:
    far_but_no_worse = losses(_flat(0.5), _flat(0.6), _flat(0.4))
    assert far_but_no_worse.lost_db == pytest.approx(0, abs=1e-4)
    assert not far_but_no_worse.passed
    near_but_worse = losses(_flat(0.5), _flat(0.51), _flat(0.511))
    assert near_but_worse.psnr_db > 59
    assert not near_but_worse.passed
    # As at export, the photo that is farthest from fp32 decides, not the mean.
    one_far = losses(_flat(0.5, 0.5), _flat(0.6, 0.6), _flat(0.6001, 0.58))
    assert (one_far.psnr_db > 35, one_far.lost_db < 0, one_far.passed) == (True, True, False)


def test_values_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ElirError, match="not finite"):
        losses(_flat(0.5), _flat(0.5), _flat(math.nan))


def test_only_targets_that_run_here() -> None:
    assert int8_losses._parse_targets("onnx, imx500") == ["onnx", "imx500"]
    with pytest.raises(UsageError, match="tensorrt, coreml cannot be measured"):
        int8_losses._parse_targets("tensorrt,onnx,coreml")


def test_rows_are_told_and_written(
    tmp_path: Path, photo: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A runtime that spoils the image misses its gates; a bundle that misses them is a reason."""

    def export(request: Request, report: object = None) -> SimpleNamespace:
        if request.target == "tflite":
            raise ParityError("int8: 0.3 dB lost")
        return SimpleNamespace(folder=Path(request.precision or "fp32"))

    class Runtime:
        def __init__(self, bundle: Path, runtime: str) -> None:
            self._error = {"fp32": 0.0, "int8": 0.001}[bundle.name]
            self._error += 0.2 * (runtime == "openvino")

        def run(self, image: Float) -> Float:
            return image + np.float32(self._error)

    names = SimpleNamespace(runtimes=["onnxruntime", "openvino"])
    monkeypatch.setattr(int8_losses, "run_export", export)
    monkeypatch.setattr(int8_losses, "Restorer", Runtime)
    monkeypatch.setattr(int8_losses.Bundle, "open", lambda folder: names)
    (tmp_path / "photos").mkdir()
    Image.fromarray(photo).save(tmp_path / "photos" / "photo.png")
    out = tmp_path / "losses.json"
    with pytest.raises(typer.Exit):
        int8_losses.run(
            data=tmp_path / "photos",
            calibration=None,
            tasks="denoising",
            targets="onnx,tflite",
            size=64,
            crops=128,
            every=1,
            bundles=tmp_path,
            out=out,
        )
    first, second, third = json.loads(out.read_text())["rows"]
    assert (first["runtime"], first["loss"]["passed"]) == ("onnxruntime", True)
    assert first["loss"]["psnr_db"] == pytest.approx(60, abs=0.01)
    assert (second["runtime"], second["loss"]["passed"]) == ("openvino", False)
    assert (third["target"], third["loss"]) == ("tflite", None)
    assert "0.3 dB lost" in third["reason"]
