"""The second engine: present, it quantizes; absent, it says what to install."""

import importlib.util
import sys

import numpy as np
import pytest
import torch

from benchmarks.mct import MctMethod, quantize_by_mct
from elir_edge.errors import ExportError
from elir_edge.metrics import psnr
from elir_edge.model import Elir, draw_noise, initialize, nano_config
from export.onnx_graph.to_onnx import IMAGE, RESTORED
from export.qdq.running import running
from export.static.unroll import StaticElir, static_form

_SIZE = 64


@pytest.fixture(scope="module")
def static() -> StaticElir:
    model = Elir(nano_config()).eval().requires_grad_(False)
    initialize(model, torch.Generator().manual_seed(0))
    return static_form(model, draw_noise(model.config, _SIZE, _SIZE))


def test_absent_engine_names_the_extra(static: StaticElir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "model_compression_toolkit", None)
    with pytest.raises(ExportError, match="cannot be imported") as caught:
        quantize_by_mct(static, [np.zeros((_SIZE, _SIZE, 3), np.float32)], "ptq")
    assert ".[mct]" in str(caught.value)


@pytest.mark.skipif(
    importlib.util.find_spec("model_compression_toolkit") is None,
    reason="model-compression-toolkit lives in an environment of its own (extra `mct`)",
)
@pytest.mark.slow
@pytest.mark.parametrize("method", ["ptq", "gptq"])
def test_quantized_graph_is_near_the_float_one(static: StaticElir, method: MctMethod) -> None:
    rng = np.random.default_rng(0)
    images = [rng.random((_SIZE, _SIZE, 3), dtype=np.float32) for _ in range(4)]
    model = quantize_by_mct(static, images, method)
    kinds = [node.op_type for node in model.graph.node]
    assert "DequantizeLinear" in kinds
    image = images[0].transpose(2, 0, 1)[None]
    with running(model) as run:
        got = run({IMAGE: image})[RESTORED][0]
    want = static.stages(torch.from_numpy(image))[RESTORED][0].numpy()
    assert 20 < psnr(want, got) < 80  # random weights: near, and yet quantized
