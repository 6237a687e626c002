"""Engines are chosen by words; absent ones say what to install; present ones quantize."""

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from benchmarks.amd_quark import quantize_by_quark
from benchmarks.openvino_nncf import quantize_by_nncf
from benchmarks.quantizers import ENGINES, LONG, RUNTIMES, choose_engines, open_graph
from elir_edge.errors import ExportError, UsageError
from elir_edge.metrics import psnr
from elir_edge.model import draw_noise
from export.calibration.photos import CalibrationCrop
from export.calibration.timing import Feed
from export.onnx_graph.to_onnx import IMAGE, RESTORED, to_probe_graph, to_shipped_graph
from export.qdq.running import running
from export.static.unroll import static_form
from tests.conftest import make_model, tiny_config

SIZE = 64


def test_engines_by_words() -> None:
    assert [*choose_engines(""), LONG] == sorted(ENGINES, key=lambda name: name == LONG)
    assert list(choose_engines("adaround")) == [LONG]
    assert list(choose_engines("nncf, elir")) == [
        "NNCF", "NNCF with accuracy control", "elir-edge search",
    ]  # fmt: skip
    with pytest.raises(UsageError, match="no engine is called tensorrt"):
        choose_engines("mct,tensorrt")


@pytest.mark.parametrize(
    ("package", "quantize"),
    [
        ("nncf", lambda: quantize_by_nncf(onnx.ModelProto(), [], "openvino")),
        ("quark.onnx", lambda: quantize_by_quark(onnx.ModelProto(), [])),
    ],
)
def test_absent_engines_name_the_extra(
    package: str, quantize: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ExportError, match=r"cannot be imported.*\.\[quantizers\]"):
        quantize()


@pytest.fixture(scope="module")
def photos() -> list[CalibrationCrop]:
    rng = np.random.default_rng(0)
    images = [rng.random((SIZE, SIZE, 3), dtype=np.float32) for _ in range(3)]
    return [CalibrationCrop(clean=image, degraded=image) for image in images]


@pytest.fixture(scope="module")
def graph() -> onnx.ModelProto:
    model = make_model(tiny_config())
    static = static_form(model, draw_noise(model.config, SIZE, SIZE))
    return to_shipped_graph(to_probe_graph(static, torch.rand(1, 3, SIZE, SIZE), None), {})


def _feeds(photos: list[CalibrationCrop]) -> list[Feed]:
    return [
        {IMAGE: np.ascontiguousarray(each.degraded.transpose(2, 0, 1)[None])} for each in photos
    ]


def _nearness(graph: onnx.ModelProto, made: Any, runtime: str, feed: Feed) -> float:
    with running(graph) as run:
        want = run(feed)[RESTORED][0]
    with open_graph(made, runtime) as run:
        got = run(feed)[RESTORED][0]
    return psnr(want, got)


@pytest.mark.skipif(
    importlib.util.find_spec("nncf") is None,
    reason="NNCF lives in an environment of its own (extra `quantizers`)",
)
@pytest.mark.slow
@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("controlled", [False, True])
def test_nncf_is_near_and_yet_quantized(
    graph: onnx.ModelProto, photos: list[CalibrationCrop], runtime: str, controlled: bool
) -> None:
    feeds = _feeds(photos)
    made = quantize_by_nncf(graph, feeds, runtime, judged_on=photos if controlled else ())
    assert 20 < _nearness(graph, made, runtime, feeds[0]) < 90
    assert "openvino_telemetry" not in sys.modules


@pytest.mark.skipif(
    importlib.util.find_spec("quark") is None,
    reason="quark lives in an environment of its own (extra `quantizers`)",
)
@pytest.mark.slow
@pytest.mark.parametrize("steps", [0, 2])
def test_quark_is_near_and_yet_quantized(
    graph: onnx.ModelProto,
    photos: list[CalibrationCrop],
    steps: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    feeds = _feeds(photos)
    made = quantize_by_quark(graph, feeds, rounding_steps=steps)
    assert 20 < _nearness(graph, made, "onnxruntime", feeds[0]) < 90
    assert not any(tmp_path.iterdir())
