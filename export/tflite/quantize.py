"""A float32 TFLite file and ranges make an int8 one; AI Edge Quantizer writes it."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from export.int8.ranges import Range
from export.int8.recipe import Recipe
from export.tflite.convert import quiet

PLACEMENTS = ("integer", "convolutions")
"""All operations in integers; or convolutions alone, between conversions. By speed."""
_LEAST_WIDTH = 1e-3
"""A tensor that never left zero has no range, and a scale of zero no inverse."""


def quantize_file(source: Path, ranges: Mapping[str, Range], recipe: Recipe, target: Path) -> None:
    """Write the int8 form of a float32 file; image and result stay float32.

    Args:
        source: float32, its weights already rounded as the recipe says.
        ranges: of its tensors, by the recipe's estimator.
        recipe: placement, and the outputs of convolutions that stay in float32.
        target: the file to write.
    """
    from ai_edge_quantizer import qtyping, quantizer, recipe_manager

    kinds = qtyping.TFLOperationName
    manager = recipe_manager.RecipeManager()
    chosen = {
        "integer": [kinds.ALL_SUPPORTED],
        "convolutions": [kinds.CONV_2D, kinds.CONV_2D_TRANSPOSE],
    }
    for kind in chosen[recipe.placement]:
        manager.add_static_config(
            regex=".*", operation_name=kind, activation_num_bits=8, weight_num_bits=8
        )
    plain = [(".*", kind) for kind in (kinds.INPUT, kinds.OUTPUT)]
    for name in recipe.float_nodes:
        # Later rules win; a name is that of what the operation makes, closed by a semicolon.
        pattern = f"^{re.escape(name)};?$"
        plain += [(pattern, kind) for kind in (kinds.CONV_2D, kinds.CONV_2D_TRANSPOSE)]
    for pattern, kind in plain:
        manager.add_quantization_config(
            regex=pattern,
            operation_name=kind,
            algorithm_key=recipe_manager.AlgorithmName.NO_QUANTIZE,
        )
    _write(quantizer.Quantizer(str(source)), manager, _as_statistics(ranges), target)


def halve_file(source: Path, target: Path) -> None:
    """Write the form of a float32 file whose weights are fp16; arithmetic stays float32."""
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


def _write(made: Any, manager: Any, statistics: dict[str, Any] | None, target: Path) -> None:
    made.load_quantization_recipe(manager.get_quantization_recipe())
    with quiet():
        result = made.quantize(statistics, enable_progress_bar=False, enable_progress_report=False)
        result.export_model(str(target), overwrite=True)


def _as_statistics(ranges: Mapping[str, Range]) -> dict[str, Any]:
    return {
        name: {
            "min": np.full((1, 1, 1, 1), low, np.float32),
            "max": np.full((1, 1, 1, 1), max(high, low + _LEAST_WIDTH), np.float32),
        }
        for name, (low, high) in ranges.items()
    }
