"""A graph that is calibrated on smaller crops is quantized as at its own size."""

import numpy as np
import pytest
import torch
from onnx import numpy_helper

from elir_edge.data.operations import FloatImage
from elir_edge.metrics import psnr
from elir_edge.model import Elir, draw_noise, initialize
from export.calibration.photos import load_calibration
from export.int8.recipe import Recipe
from export.onnx_graph.to_onnx import IMAGE, RESTORED, to_probe_graph, to_shipped_graph
from export.qdq.calibrated import CalibratedGraph, QdqRecipe
from export.qdq.placements import QdqPlacement
from export.qdq.running import running
from export.static.unroll import static_form
from tests.conftest import tiny_config

_SIZE = 64
_RECIPE: QdqRecipe = Recipe(placement=QdqPlacement.ALL, estimator="minmax", corrected=True)
_NEAR = 35.0
"""Decibels between the images of two calibrations of one model of random weights; 37 were seen."""


@pytest.fixture(scope="module")
def graphs() -> dict[int, CalibratedGraph]:
    """Return one graph, calibrated at its own size and at half of it."""
    model = Elir(tiny_config()).eval()
    initialize(model, torch.Generator().manual_seed(0))
    static = static_form(model, draw_noise(model.config, _SIZE, _SIZE, seed=1))
    probe = to_probe_graph(static, torch.rand(1, 3, _SIZE, _SIZE), None)
    shipped = to_shipped_graph(probe, {})
    return {
        side: CalibratedGraph(
            probe, shipped, load_calibration("denoising", _SIZE, side=side, crops=8)
        )
        for side in (_SIZE, _SIZE // 2)
    }


def _restored(graph: CalibratedGraph, recipe: QdqRecipe = _RECIPE) -> FloatImage:
    image = load_calibration("denoising", _SIZE, crops=1).gates[0].degraded
    with running(graph.quantize(recipe), as_written=True) as run:
        restored = run({IMAGE: image.transpose(2, 0, 1)[None]})[RESTORED]
    return np.ascontiguousarray(restored[0].transpose(1, 2, 0))


def test_the_crops_are_small_and_the_result_is_not(graphs: dict[int, CalibratedGraph]) -> None:
    small = graphs[_SIZE // 2]
    assert small.side == _SIZE // 2
    assert {feed[IMAGE].shape[-1] for feed in small.feeds} == {_SIZE // 2}
    assert small.quantize(_RECIPE).graph.input[0].type.tensor_type.shape.dim[3].dim_value == _SIZE
    assert (
        small.quantize_small(_RECIPE).graph.input[0].type.tensor_type.shape.dim[3].dim_value
        == _SIZE // 2
    )
    whole = graphs[_SIZE]
    assert whole.quantize(_RECIPE) is whole.quantize_small(_RECIPE)


def test_it_restores_as_if_calibrated_at_full_size(graphs: dict[int, CalibratedGraph]) -> None:
    whole = _restored(graphs[_SIZE])
    assert psnr(whole, _restored(graphs[_SIZE // 2])) >= _NEAR
    # The twin: mirrored.
    assert psnr(whole, _restored(graphs[_SIZE // 2])[:, ::-1]) < _NEAR


def test_kernels_and_biases_are_those_of_the_trial(graphs: dict[int, CalibratedGraph]) -> None:
    graph = graphs[_SIZE // 2]
    full, trial = graph.quantize(_RECIPE), graph.quantize_small(_RECIPE)
    tensors = [
        {t.name: numpy_helper.to_array(t) for t in each.graph.initializer} for each in (full, trial)
    ]
    readers = [n for n in full.graph.node if n.op_type == "Conv" and len(n.input) > 2]
    assert len(readers) >= 10
    made_by = {node.output[0]: node for node in full.graph.node}
    for node in readers:
        assert np.array_equal(tensors[0][node.input[2]], tensors[1][node.input[2]]), node.name
        kernel = made_by[node.input[1]].input[0]
        assert np.array_equal(tensors[0][kernel], tensors[1][kernel]), node.name
    # The twin: without correction the biases are others.
    plain = graph.quantize(Recipe(placement=QdqPlacement.ALL, estimator="minmax"))
    biases = {t.name: numpy_helper.to_array(t) for t in plain.graph.initializer}
    name = readers[0].input[2]
    assert not np.array_equal(biases[name], tensors[0][name])
