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
from tests.export.targets.imx500.standin import (
    evaluate,
    quantized_activation,
    quantized_graph,
    quantized_kernel,
)

_SIZE = 4


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
        quantized_activation("input", "x", 8, 0, 1.0),
        quantized_kernel("w1", "t1", "k1"),
        helper.make_node("Conv", ["x", "k1"], ["a"]),
        quantized_activation("a", "b", 16, 1, 2.0),
        quantized_kernel("w2", "t2", "k2"),
        helper.make_node("Conv", ["b", "k2"], ["c"]),
        quantized_activation("c", "output", 8, 0, 1.0),
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


def _emulated(model: onnx.ModelProto, image: np.ndarray) -> np.ndarray:
    with running(to_emulation(model, _SIZE)) as run:
        restored: np.ndarray = run({IMAGE: image})[RESTORED]
    return restored


def _levels(count: int = 1) -> np.ndarray:
    return np.random.default_rng(2).integers(0, 256, (count, _SIZE, _SIZE, 3), dtype=np.uint8)


@pytest.mark.parametrize("signed", [0, 1])
@pytest.mark.parametrize("bits", [2, 5, 8, 16])
@pytest.mark.parametrize("threshold", [0.5, 1.0, 4.0])
@pytest.mark.parametrize("gain", [0.7, -0.7])
def test_activations_of_any_width(bits: int, signed: int, threshold: float, gain: float) -> None:
    """Against MCT's definition in numpy: exactly, and negative values and too large ones clip."""
    nodes = [
        helper.make_node("Mul", ["input", "gain"], ["a"]),
        quantized_activation("a", "b", bits, signed, threshold),
        helper.make_node("Add", ["b", "half"], ["output"]),
    ]
    model = quantized_graph(nodes, {"gain": np.array(4 * gain), "half": np.array(0.25)}, _SIZE)
    image = _levels()
    read = image.transpose(0, 3, 1, 2).astype(np.float32) / 256
    wanted = np.clip(np.rint(evaluate(model, read) * 256), 0, 255)
    assert np.array_equal(_emulated(model, image).transpose(0, 3, 1, 2), wanted)


@pytest.mark.parametrize("signed", [0, 1])
@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize(("per_channel", "axis"), [(0, 0), (1, 0), (1, 1)])
def test_kernels_of_any_width(bits: int, signed: int, per_channel: int, axis: int) -> None:
    """Per tensor and per channel of either axis, against MCT's definition in numpy."""
    weights = np.random.default_rng(3).normal(0.2, 0.3, (3, 3, 1, 1))
    threshold = np.array([1.0, 0.25, 0.5]) if per_channel else np.array([0.5])
    quantizer = quantized_kernel(
        "w", "t", "k", bits=bits, signed=signed, per_channel=per_channel, axis=axis
    )
    nodes = [quantizer, helper.make_node("Conv", ["input", "k"], ["output"])]
    model = quantized_graph(nodes, {"w": weights, "t": threshold}, _SIZE)
    image = _levels()
    read = image.transpose(0, 3, 1, 2).astype(np.float32) / 256
    wanted = np.clip(evaluate(model, read) * 256, 0, 255).transpose(0, 2, 3, 1)
    got = _emulated(model, image).astype(float)
    assert np.abs(got - wanted).max() <= 0.5 + 1e-3  # of a level: rounded, and no more


def test_kernels_in_nodes_are_found() -> None:
    """As a node Constant, and behind an Identity of one; what nothing reads is left out."""
    weights = np.diag([0.5, 0.25, 1.0]).reshape(3, 3, 1, 1).astype(np.float32)
    threshold = np.array([1.0, 1.0, 1.0], np.float32)
    nodes = [
        helper.make_node("Constant", [], ["w"], value=numpy_helper.from_array(weights)),
        helper.make_node("Constant", [], ["t"], value=numpy_helper.from_array(threshold)),
        helper.make_node("Constant", [], ["idle"], value_float=1.0),
        helper.make_node("Identity", ["t"], ["same"]),
        helper.make_node("Identity", ["input"], ["image"]),
        quantized_kernel("w", "same", "k"),
        helper.make_node("Conv", ["image", "k"], ["output"]),
    ]
    nodes[4].output[0] = nodes[6].input[0] = "read"
    image = _levels()
    emulation = to_emulation(quantized_graph(nodes, {"unread": np.zeros(7)}, _SIZE), _SIZE)
    assert not {"w", "t", "idle", "unread"} & {
        name for node in emulation.graph.node for name in node.output
    }
    assert "unread" not in {t.name for t in emulation.graph.initializer}
    with running(emulation) as run:
        got = run({IMAGE: image})[RESTORED]
    assert np.array_equal(got[..., 1], np.rint(image[..., 1] / 4))
    # 1.0 becomes 127/128, the largest that 8 bits hold.
    assert np.array_equal(got[..., 2], np.rint(image[..., 2] * (127 / 128)))


def test_other_domains_are_refused() -> None:
    node = helper.make_node("Other", ["input"], ["output"], domain="elsewhere")
    with pytest.raises(ExportError, match="unknown operator Other"):
        to_emulation(quantized_graph([node], {}, _SIZE), _SIZE)


def test_the_last_convolution_is_corrected() -> None:
    """Not another one; a bias that is not of colours is refused."""
    tensors = {
        "w": np.eye(3)[:, :, None, None],
        "b1": np.array([0.1, 0.1, 0.1]),
        "b2": np.array([0.2, 0.3, 0.4]),
    }
    nodes = [
        helper.make_node("Conv", ["input", "w", "b1"], ["a"]),
        helper.make_node("ConvTranspose", ["a", "w", "b2"], ["b"]),
        helper.make_node("Relu", ["b"], ["output"]),
    ]
    shift = np.array([0.05, -0.02, 0.01], np.float32)
    model = quantized_graph(nodes, tensors, _SIZE)
    changed = {
        t.name: numpy_helper.to_array(t) for t in without_shift(model, shift).graph.initializer
    }
    assert np.allclose(changed["b2"], tensors["b2"] - shift, atol=1e-6)
    assert np.allclose(changed["b1"], tensors["b1"])
    assert np.allclose(numpy_helper.to_array(model.graph.initializer[2]), tensors["b2"])
    with pytest.raises(ExportError, match="bias per colour"):
        without_shift(quantized_graph(nodes, {**tensors, "b2": np.zeros(4)}, _SIZE), shift)
    with pytest.raises(ExportError, match="bias per colour"):
        without_shift(quantized_graph(nodes[2:], tensors, _SIZE), shift)


def test_the_shift_is_the_mean_over_images_and_pixels() -> None:
    expected = [np.zeros((3, 2, 4), np.float32)] * 2
    got = [np.zeros((3, 2, 4), np.float32), np.zeros((3, 2, 4), np.float32)]
    got[0][0, 0, 0] = 1.0
    got[1][1] = 0.5
    assert np.allclose(mean_shift(expected, got), [1 / 16, 0.25, 0])
    with pytest.raises(ValueError, match="zip"):
        mean_shift(expected, got[:1])


def test_constants_in_nodes_are_merged() -> None:
    """Of equal value, type and shape; others stay apart."""
    values = [np.ones((3, 1, 1), np.float32)] * 2 + [np.ones((1, 3, 1), np.float32)[:, :1]]
    nodes = [
        helper.make_node("Constant", [], [f"c{i}"], value=numpy_helper.from_array(v, f"n{i}"))
        for i, v in enumerate(values)
    ]
    nodes += [
        helper.make_node("Constant", [], ["f"], value_float=1.0),
        helper.make_node("Constant", [], ["g"], value_float=1.0),
        helper.make_node("Sum", ["input", "c0", "c1", "c2", "f", "g"], ["output"]),
    ]
    shared, count = share_constants(quantized_graph(nodes, {}, _SIZE))
    assert count == 1
    assert list(shared.graph.node[-1].input) == ["input", "c0", "c0", "c2", "f", "g"]
    assert [n.output[0] for n in shared.graph.node[:-1]] == ["c0", "c2", "f", "g"]
