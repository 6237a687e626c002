"""AMD's quark as another int8 engine for ONNX: its A8W8 recipe, plain and with AdaRound."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from typing import Any

import onnx

from benchmarks.openvino_nncf import FIX
from elir_edge.errors import ExportError
from export.calibration.timing import Feed


def quantize_by_quark(
    model: onnx.ModelProto, feeds: Sequence[Feed], *, learned_rounding: bool
) -> onnx.ModelProto:
    """Quantize weights and activations to int8 by a recipe that the package ships.

    Args:
        model: the float32 graph.
        feeds: inputs that ranges are taken on.
        learned_rounding: AdaRound, which learns how weights are rounded, layer by layer.

    Raises:
        ExportError: quark is not installed, or returns no graph.
    """
    try:
        from onnxruntime.quantization import CalibrationDataReader
        from quark.onnx import A8W8_ADAROUND_QCONFIG, A8W8_QCONFIG, ModelQuantizer
    except ImportError as error:
        raise ExportError(f"amd-quark cannot be imported ({error})", fix=FIX) from error

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.rewind()

        def get_next(self) -> Feed | None:
            return next(self._feeds, None)

        def rewind(self) -> None:
            self._feeds = iter([dict(feed) for feed in feeds])

    config = A8W8_ADAROUND_QCONFIG if learned_rounding else A8W8_QCONFIG
    with _quiet():
        made: Any = ModelQuantizer(config).quantize_model(model, calibration_data_reader=Reader())
    if not isinstance(made, onnx.ModelProto):
        raise ExportError("quark returned no graph")
    return made


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep quark's tables of settings and nodes off the screen: it prints them."""
    with open(os.devnull, "w", encoding="utf-8") as nowhere, contextlib.redirect_stdout(nowhere):
        yield
