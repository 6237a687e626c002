"""NNCF, OpenVINO's own quantizer, as another int8 engine: plain, and with accuracy control.

OpenVINO gets a graph of NNCF's OpenVINO backend, as its documentation has it; ONNX Runtime one of
its ONNX backend, with Q/DQ pairs.
"""

import contextlib
import logging
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from benchmarks.engine_errors import FIX, refusals
from elir_edge.errors import ExportError
from elir_edge.metrics import psnr
from export.calibration.photos import CalibrationCrop
from export.calibration.timing import Feed
from export.onnx_graph.to_onnx import IMAGE, RESTORED
from export.parity import MAX_LOST_INT8
from export.qdq.running import running

_RANKED_ON = 4
"""Photos that accuracy control ranks layers on; it does so many times."""


def quantize_by_nncf(
    model: onnx.ModelProto,
    feeds: Sequence[Feed],
    runtime: str,
    *,
    judged_on: Sequence[CalibrationCrop] = (),
) -> Any:
    """Quantize by NNCF with its mixed preset: weights symmetric, activations asymmetric.

    Args:
        model: the float32 graph.
        feeds: inputs that ranges are taken on.
        runtime: `openvino` or `onnxruntime`, which decides the backend.
        judged_on: photos for the accuracy control, which returns layers to float32, those first
            that cost most, until the mean PSNR against the ground truth is at most as much below
            float32's as our gates allow. Empty: no control.

    Returns:
        `openvino.Model` for OpenVINO, `onnx.ModelProto` for ONNX Runtime.

    Raises:
        ExportError: NNCF is not installed, or refuses the graph.
    """
    with _without_telemetry():
        try:
            import nncf
        except ImportError as error:
            raise ExportError(f"nncf cannot be imported ({error})", fix=FIX) from error
    given: Any = _as_openvino(model) if runtime == "openvino" else model
    images = [dict(feed) for feed in feeds]
    options: dict[str, Any] = {
        "preset": nncf.QuantizationPreset.MIXED,
        "subset_size": len(images),
    }
    own = [each for each in vars(nncf.errors).values() if isinstance(each, type)]
    with _quiet(nncf), refusals("nncf", *own):
        if not judged_on:
            return nncf.quantize(given, nncf.Dataset(images), **options)
        return nncf.quantize_with_accuracy_control(
            given,
            nncf.Dataset(images),
            nncf.Dataset(list(judged_on), lambda crop: {IMAGE: _planes(crop.degraded)}),
            _mean_psnr,
            max_drop=MAX_LOST_INT8,
            drop_type=nncf.DropType.ABSOLUTE,
            advanced_accuracy_restorer_parameters=nncf.AdvancedAccuracyRestorerParameters(
                ranking_subset_size=_RANKED_ON
            ),
            **options,
        )


def _mean_psnr(model: Any, crops: Iterable[CalibrationCrop]) -> tuple[float, None]:
    """Return the mean PSNR against the ground truth, in dB.

    Args:
        model: what NNCF hands out: a graph of ONNX, or a model that OpenVINO has compiled.
        crops: the photos.
    """
    with contextlib.ExitStack() as stack:
        graph = isinstance(model, onnx.ModelProto)
        run = stack.enter_context(running(model)) if graph else model
        found = []
        for crop in crops:
            restored = run({IMAGE: _planes(crop.degraded)})[RESTORED]
            image = np.ascontiguousarray(restored[0].transpose(1, 2, 0))
            found.append(psnr(crop.clean, image))
    return float(np.mean(found)), None


def _planes(image: Any) -> Any:
    return np.ascontiguousarray(image.transpose(2, 0, 1)[None])


def _as_openvino(model: onnx.ModelProto) -> Any:
    import openvino

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        onnx.save(model, path)
        return openvino.Core().read_model(path)


def save_openvino(model: Any, path: Path) -> None:
    """Write an `openvino.Model` as .xml and .bin, what is float32 in float32."""
    import openvino

    openvino.save_model(model, str(path), compress_to_fp16=False)


@contextlib.contextmanager
def _without_telemetry() -> Iterator[None]:
    """Have NNCF find no `openvino_telemetry`, by which it reports each run to Google Analytics."""
    name = "openvino_telemetry"
    before = sys.modules.get(name)
    sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if before is None:
            del sys.modules[name]
        else:
            sys.modules[name] = before


@contextlib.contextmanager
def _quiet(nncf: Any) -> Iterator[None]:
    """Have NNCF report warnings and errors only: each layer that it returns is a line otherwise."""
    logger = logging.getLogger("nncf")
    level = logger.level
    nncf.set_log_level(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)
