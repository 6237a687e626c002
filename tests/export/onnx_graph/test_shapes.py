"""The graph for smaller images is the same network; its noise is a corner."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from elir_edge.model import Elir, draw_noise, initialize
from export.onnx_graph.shapes import at_side
from export.onnx_graph.to_onnx import IMAGE, RESTORED, to_probe_graph, to_shipped_graph
from export.qdq.running import running
from export.static.unroll import StaticElir, static_form
from export.static.unroll import at_side as static_at_side
from export.targets.tflite.convert import to_tflite
from export.targets.tflite.file import read_operations
from tests.conftest import tiny_config, tiny_published_like

_FULL, _SMALL = 64, 32
_TOLERANCE = 1e-4
"""Of ONNX Runtime to torch, both float32; images lie in [0, 1]."""


@pytest.fixture(scope="module", params=["nano", "published"])
def static(request: pytest.FixtureRequest) -> StaticElir:
    """Return a static model for `_FULL` pixels that holds its noise."""
    model = Elir(tiny_config() if request.param == "nano" else tiny_published_like()).eval()
    initialize(model, torch.Generator().manual_seed(0))
    return static_form(model, draw_noise(model.config, _FULL, _FULL, seed=1))


def _image(side: int) -> torch.Tensor:
    return torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(side))


def _graph(static: StaticElir) -> onnx.ModelProto:
    return to_shipped_graph(to_probe_graph(static, _image(_FULL), None), {})


def test_the_graph_computes_what_the_small_static_model_does(static: StaticElir) -> None:
    image = _image(_SMALL)
    small, noise = static_at_side(static, _image(_FULL), None, _SMALL)
    assert noise is None
    expected = small.stages(image)[RESTORED].detach().numpy()
    with running(at_side(_graph(static), _SMALL)) as run:
        got = run({IMAGE: image.numpy()})[RESTORED]
    assert got.shape == (1, 3, _SMALL, _SMALL)
    assert np.abs(got - expected).max() <= _TOLERANCE
    # The twin: with another corner of the noise.
    assert small.noise is not None
    other = small.stages(image, small.noise.flip(3))[RESTORED].detach().numpy()
    assert np.abs(got - other).max() > _TOLERANCE


def test_the_given_one_is_left_alone(static: StaticElir) -> None:
    graph = _graph(static)
    before = graph.SerializeToString(deterministic=True)
    at_side(graph, _SMALL)
    assert graph.SerializeToString(deterministic=True) == before
    static_at_side(static, _image(_FULL), None, _SMALL)
    assert static.noise is not None
    assert static.noise.shape[-1] == _FULL // 8


def test_noise_as_an_input_is_cut_too(static: StaticElir) -> None:
    given = static.noise
    model = static_at_side(static, _image(_FULL), None, _FULL)[0]
    model.noise = None
    small, noise = static_at_side(model, _image(_FULL), given, _SMALL)
    assert small is model
    assert given is not None
    assert noise is not None
    assert torch.equal(noise, given[..., : _SMALL // 8, : _SMALL // 8])


@pytest.mark.slow
def test_tflite_names_its_tensors_alike_at_every_size(static: StaticElir, tmp_path: Path) -> None:
    """Ranges that are observed on the small file are carried over by name."""
    pytest.importorskip("litert_torch", reason="needs the extra `tflite`")
    names = []
    for side in (_FULL, _SMALL):
        model, _ = static_at_side(static, _image(_FULL), None, side)
        path = tmp_path / f"{side}.tflite"
        to_tflite(model, _image(side), None, path, clamped=False)
        names.append([name for each in read_operations(path) for name in each.outputs])
    assert names[0] == names[1]
