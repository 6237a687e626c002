"""Sharing constants changes no byte; the emulation computes what the quantizers stand for."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from elir_edge.errors import ExportError
from export.onnx_graph.to_onnx import IMAGE, RESTORED
from export.qdq.running import running
from export.targets.imx500.emulate import to_emulation
from export.targets.imx500.mean import mean_shift, without_shift
from export.targets.imx500.sharing import share_constants

_DOMAIN = "mct_quantizers"
_SIZE = 4


def _quantizer(
    source: str, result: str, bits: int, signed: int, threshold: float
) -> onnx.NodeProto:
    return helper.make_node(
        "ActivationPOTQuantizer",
        [source],
        [result],
        domain=_DOMAIN,
        num_bits=bits,
        signed=signed,
        threshold=threshold,
    )


def _kernel(source: str, threshold: str, result: str) -> onnx.NodeProto:
    return helper.make_node(
        "WeightsSymmetricQuantizer",
        [source, threshold],
        [result],
        domain=_DOMAIN,
        num_bits=8,
        signed=1,
        per_channel=1,
        channel_axis=0,
    )


def _quantized(kernels: list[np.ndarray]) -> onnx.ModelProto:
    """Return two 1x1 convolutions in a row, as MCT exports them."""
    tensors = [
        numpy_helper.from_array(value.astype(np.float32), name)
        for name, value in (
            ("w1", kernels[0]),
            ("w2", kernels[1]),
            ("t1", np.array([1.0, 0.5, 2.0])),
            ("t2", np.array([1.0, 0.5, 2.0])),
        )
    ]
    nodes = [
        _quantizer("input", "x", 8, 0, 1.0),
        _kernel("w1", "t1", "k1"),
        helper.make_node("Conv", ["x", "k1"], ["a"]),
        _quantizer("a", "b", 16, 1, 2.0),
        _kernel("w2", "t2", "k2"),
        helper.make_node("Conv", ["b", "k2"], ["c"]),
        _quantizer("c", "output", 8, 0, 1.0),
    ]
    shape = ["batch", 3, _SIZE, _SIZE]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, shape)],
        tensors,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)])


@pytest.fixture
def kernel() -> np.ndarray:
    return np.random.default_rng(0).normal(0, 0.4, (3, 3, 1, 1))


def test_equal_kernels_become_one(kernel: np.ndarray) -> None:
    shared, count = share_constants(_quantized([kernel, kernel]))
    # Two kernels, two thresholds, two quantizers.
    assert count == 3
    assert [t.name for t in shared.graph.initializer] == ["w1", "t1"]
    assert {node.input[1] for node in shared.graph.node if node.op_type == "Conv"} == {"k1"}
    # The twin: another value keeps its own.
    other = kernel.copy()
    other[0, 0] += 1e-3
    kept, count = share_constants(_quantized([kernel, other]))
    assert count == 1
    assert [t.name for t in kept.graph.initializer] == ["w1", "w2", "t1"]


@pytest.mark.parametrize(
    ("name", "value"), [("num_bits", 4), ("signed", 0), ("per_channel", 0), ("channel_axis", 1)]
)
def test_quantizers_with_other_attributes_stay_apart(
    name: str, value: int, kernel: np.ndarray
) -> None:
    model = _quantized([kernel, kernel])
    second = next(node for node in model.graph.node if node.output[0] == "k2")
    (attribute,) = (each for each in second.attribute if each.name == name)
    attribute.i = value
    shared, count = share_constants(model)
    assert count == 2  # the kernels and the thresholds, not what quantizes them
    assert [n.input[1] for n in shared.graph.node if n.op_type == "Conv"] == ["k1", "k2"]


def _by_hand(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Return what the chip makes of bytes (4, 4, 3), in float64."""
    scale = np.array([1.0, 0.5, 2.0]) / 128
    weights = np.clip(np.rint(kernel[:, :, 0, 0] / scale[:, None]), -128, 127) * scale[:, None]
    a = np.einsum("oc,hwc->hwo", weights, image / 256)
    step = 2.0 / 2**15
    b = np.clip(np.rint(a / step), -(2**15), 2**15 - 1) * step
    c = np.einsum("oc,hwc->hwo", weights, b)
    return np.clip(np.rint(c * 256), 0, 255)


def test_emulation_equals_arithmetic_by_hand(kernel: np.ndarray) -> None:
    image = np.random.default_rng(1).integers(0, 256, (_SIZE, _SIZE, 3), dtype=np.uint8)
    shared, _ = share_constants(_quantized([kernel, kernel]))
    emulation = to_emulation(shared, _SIZE)
    assert {node.domain for node in emulation.graph.node} == {""}
    with running(emulation) as run:
        got = run({IMAGE: image[None]})[RESTORED]
    assert got.dtype == np.uint8
    want = _by_hand(image, kernel)
    assert np.abs(got[0].astype(float) - want).max() <= 1  # a tie may fall on either side
    assert (got[0] == want).mean() > 0.9
    # The twin: a kernel that was not quantized.
    wrong = _by_hand(image, kernel + 0.02)
    assert (got[0] == wrong).mean() < 0.5


def test_unknown_operators_are_refused(kernel: np.ndarray) -> None:
    model = _quantized([kernel, kernel])
    model.graph.node[0].op_type = "ActivationLutPOTQuantizer"
    with pytest.raises(ExportError, match="unknown operator ActivationLutPOTQuantizer"):
        to_emulation(model, _SIZE)


def test_the_mean_colour_is_brought_back(kernel: np.ndarray) -> None:
    model = _quantized([np.eye(3)[:, :, None, None], kernel])
    model.graph.initializer.append(
        numpy_helper.from_array(np.array([0.1, 0.2, 0.3], np.float32), "bias")
    )
    model.graph.node[-2].input.append("bias")
    image = np.full((1, _SIZE, _SIZE, 3), 100, np.uint8)

    def restored(graph: onnx.ModelProto) -> np.ndarray:
        with running(to_emulation(graph, _SIZE)) as run:
            return run({IMAGE: image})[RESTORED][0].transpose(2, 0, 1).astype(np.float32) / 255

    before = restored(model)
    shift = np.array([0.05, -0.02, 0.01], np.float32)
    wanted = before - shift[:, None, None]
    found = mean_shift([wanted], [before])
    assert np.allclose(found, shift, atol=1e-6)
    after = restored(without_shift(model, found))
    assert np.abs(mean_shift([wanted], [after])).max() < 1 / 255
    # The twin: no bias to correct.
    with pytest.raises(ExportError, match="bias per colour"):
        without_shift(_quantized([kernel, kernel]), found)
