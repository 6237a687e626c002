"""AMD's quark as another int8 engine for ONNX: its A8W8 recipe, plain and with AdaRound.

Its first import compiles operators of its own, which takes a C++ compiler and some minutes.
"""

import contextlib
import copy
import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any

import onnx

from benchmarks.engine_errors import FIX, refusals
from elir_edge.errors import ExportError
from export.calibration.timing import Feed


def quantize_by_quark(
    model: onnx.ModelProto, feeds: Sequence[Feed], *, rounding_steps: int = 0
) -> onnx.ModelProto:
    """Quantize weights and activations to int8 by a recipe that the package ships.

    Args:
        model: the float32 graph.
        feeds: inputs that ranges are taken on.
        rounding_steps: of AdaRound, which learns for each layer how its weights are rounded.

    Raises:
        ExportError: quark is not installed, refuses the graph, or returns none.
    """
    os.environ.setdefault("QUARK_LOG_LEVEL", "warning")
    with _quiet():
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

        # It writes into the recipe that it is given.
        recipe = copy.deepcopy(A8W8_ADAROUND_QCONFIG if rounding_steps else A8W8_QCONFIG)
        # The Euler steps share their kernels; it warns of wrong results where they do.
        recipe.extra_options["CopySharedInit"] = []
        for algorithm in recipe.algo_config:
            algorithm.num_iterations = rounding_steps
        quantizer = ModelQuantizer(recipe)
        with refusals("quark", subprocess.SubprocessError):  # it compiles operators
            made: Any = quantizer.quantize_model(model, calibration_data_reader=Reader())
    if not isinstance(made, onnx.ModelProto):
        raise ExportError("quark returned no graph")
    return made


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the tables that quark prints and writes off the screen and out of the user's folder."""
    with (
        open(os.devnull, "w", encoding="utf-8") as nowhere,
        tempfile.TemporaryDirectory() as folder,
        contextlib.redirect_stdout(nowhere),
        contextlib.chdir(folder),
    ):
        yield
