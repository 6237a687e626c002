"""Quantization of a float32 TFLite file to int8 with given ranges, by AI Edge Quantizer."""

import contextlib
import io
import re
import sys
from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np

from export.calibration.ranges import ActivationRange
from export.int8.recipe import Recipe
from export.targets.tflite.convert import quiet

_BAR = "Applying Transformations"
_LEAST_WIDTH = 1e-3
"""Smallest range: a tensor that is always zero would get a scale of zero, which has no inverse."""


class TflitePlacement(StrEnum):
    """The operations that compute in integers. NPUs support the first three, CPUs all four.

    Attributes:
        INTEGER: all operations.
        SUMS: all operations except residual sums.
        CONVOLUTIONS: convolutions only.
        DYNAMIC: convolutions only, with activation scales computed for every image.
    """

    INTEGER = "integer"
    SUMS = "sums"
    CONVOLUTIONS = "convolutions"
    DYNAMIC = "dynamic"


def quantize_file(
    source: Path,
    ranges: Mapping[str, ActivationRange],
    recipe: Recipe[TflitePlacement],
    target: Path,
) -> None:
    """Write the int8 form of a float32 file; image and result stay float32.

    Args:
        source: the float32 file, with weights already rounded to the int8 grid.
        ranges: ranges of its tensors, by the recipe's estimator.
        recipe: the placement, and the convolutions (by output) that stay in float32.
        target: the file to write.
    """
    from ai_edge_quantizer import qtyping, quantizer, recipe_manager

    kinds = qtyping.TFLOperationName
    manager = recipe_manager.RecipeManager()
    convolutions = (kinds.CONV_2D, kinds.CONV_2D_TRANSPOSE)
    dynamic = recipe.placement is TflitePlacement.DYNAMIC
    whole = recipe.placement in (TflitePlacement.INTEGER, TflitePlacement.SUMS)
    for kind in (kinds.ALL_SUPPORTED,) if whole else convolutions:
        if dynamic:
            manager.add_dynamic_config(regex=".*", operation_name=kind, num_bits=8)
        else:
            manager.add_static_config(
                regex=".*", operation_name=kind, activation_num_bits=8, weight_num_bits=8
            )
    sums = [kinds.ADD] if recipe.placement is TflitePlacement.SUMS else []
    left = [kinds.INPUT, kinds.OUTPUT, *sums]
    plain = [(".*", kind) for kind in left]
    for name in recipe.float_nodes:
        # Later rules win. Operations are matched by their output's name, followed by a semicolon.
        plain += [(f"^{re.escape(name)};?$", kind) for kind in convolutions]
    for pattern, kind in plain:
        manager.add_quantization_config(
            regex=pattern,
            operation_name=kind,
            algorithm_key=recipe_manager.AlgorithmName.NO_QUANTIZE,
        )
    statistics = None if dynamic else _as_statistics(ranges)
    _write(quantizer.Quantizer(str(source)), manager, statistics, target)


def halve_file(source: Path, target: Path) -> None:
    """Write a float32 file with its weights in fp16; arithmetic stays float32."""
    from ai_edge_quantizer import qtyping, quantizer, recipe_manager

    manager = recipe_manager.RecipeManager()
    manager.add_quantization_config(
        regex=".*",
        operation_name=qtyping.TFLOperationName.ALL_SUPPORTED,
        op_config=qtyping.OpQuantizationConfig(
            weight_tensor_config=qtyping.TensorQuantizationConfig(
                num_bits=16, dtype=qtyping.TensorDataType.FLOAT
            ),
            compute_precision=qtyping.ComputePrecision.FLOAT,
            explicit_dequantize=True,
        ),
        algorithm_key=recipe_manager.AlgorithmName.FLOAT_CASTING,
    )
    _write(quantizer.Quantizer(str(source)), manager, None, target)


def _write(quantizer: Any, manager: Any, statistics: dict[str, Any] | None, target: Path) -> None:
    quantizer.load_quantization_recipe(manager.get_quantization_recipe())
    with quiet(), _without_bars():
        result = quantizer.quantize(
            statistics, enable_progress_bar=False, enable_progress_report=False
        )
        result.export_model(str(target), overwrite=True)


@contextlib.contextmanager
def _without_bars() -> Iterator[None]:
    """Suppress the quantizer's progress bar on stderr; other lines are shown."""
    written = io.StringIO()
    try:
        with contextlib.redirect_stderr(written):
            yield
    finally:
        lines = re.split(r"[\r\n]+", written.getvalue())
        sys.stderr.writelines(f"{line}\n" for line in lines if line and _BAR not in line)


def _as_statistics(ranges: Mapping[str, ActivationRange]) -> dict[str, Any]:
    return {
        name: {
            "min": np.full((1, 1, 1, 1), low, np.float32),
            "max": np.full((1, 1, 1, 1), max(high, low + _LEAST_WIDTH), np.float32),
        }
        for name, (low, high) in ranges.items()
    }
