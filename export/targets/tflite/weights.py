"""Rounding of weights and bias correction of the static model, by the tools for ONNX files."""

import copy
from collections.abc import Mapping

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper

from export.int8.recipe import Recipe
from export.qdq.calibrated import CalibratedGraph
from export.qdq.placements import QdqPlacement
from export.static.unroll import StaticElir

_AS_INTEGER = Recipe(placement=QdqPlacement.ALL, estimator="mse", corrected=True)
"""The recipe of the Q/DQ graph that is closest to a full-integer TFLite file."""


def prepare_for_int8(static: StaticElir, graph: CalibratedGraph, *, correct: bool) -> StaticElir:
    """Return the model with kernels rounded to the int8 grid.

    Args:
        static: the model from which the graph was exported.
        graph: the observed graph with rounded weights.
        correct: whether to correct the biases for int8's mean error, which takes some time.
    """
    tensors = _initializers(graph.rounded)
    if correct:
        corrected = _initializers(graph.quantize(_AS_INTEGER))
        tensors |= {name: value for name, value in corrected.items() if name.endswith(".bias")}
    return with_tensors(static, tensors)


def with_tensors(static: StaticElir, tensors: Mapping[str, NDArray[np.float32]]) -> StaticElir:
    """Return the model with parameters replaced by name; unknown names are ignored."""
    static = copy.deepcopy(static)
    with torch.no_grad():
        for name, parameter in static.named_parameters():
            value = tensors.get(name)
            if value is not None and value.shape == tuple(parameter.shape):
                parameter.copy_(torch.from_numpy(value.copy()))
    return static


def _initializers(model: onnx.ModelProto) -> dict[str, NDArray[np.float32]]:
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    return {name: value for name, value in arrays.items() if value.dtype == np.float32}
