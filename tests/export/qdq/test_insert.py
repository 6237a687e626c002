"""A Q/DQ graph by hand, and biases that make up for its mean error."""

import dataclasses

import numpy as np
import onnx
import pytest
from onnx import helper

from elir_edge.errors import ExportError
from export.int8.recipe import Recipe
from export.qdq.bias import correct_biases
from export.qdq.insert import insert_pairs
from export.qdq.placements import QdqPlacement
from export.targets.tensorrt.int8 import require_symmetric
from tests.export.qdq.graphs import graph_of, run

RECIPE = Recipe(placement=QdqPlacement.CONVOLUTION_INPUTS, estimator="minmax")


def _point(weight: float, bias: float) -> onnx.ModelProto:
    return graph_of(
        [helper.make_node("Conv", ["image", "w", "b"], ["out"], name="c")],
        (1, 1, 1, 4),
        "out",
        {
            "w": np.array(weight, np.float32).reshape(1, 1, 1, 1),
            "b": np.array([bias], np.float32),
        },
    )


def test_by_hand() -> None:
    """Range 0 to 2.55: a step of 0.01; 0.004 and 0.006 fall to 0 and 0.01, 3 to 2.55."""
    quantized = insert_pairs(_point(2.0, 0.5), {"image": (0.0, 2.55), "out": (0.0, 6.0)}, RECIPE)
    image = np.array([0.004, 0.006, 1.0, 3.0], np.float32).reshape(1, 1, 1, 4)
    got = run(quantized, image).ravel()
    assert got == pytest.approx([0.5, 0.52, 2.5, 5.6], abs=1e-5)
    # The twin: another range gives other values.
    other = insert_pairs(_point(2.0, 0.5), {"image": (0.0, 5.1), "out": (0.0, 6.0)}, RECIPE)
    assert run(other, image).ravel() != pytest.approx([0.5, 0.52, 2.5, 5.6], abs=1e-3)


def test_float_nodes_stay() -> None:
    ranges = {"image": (0.0, 2.55), "out": (0.0, 6.0)}
    recipe = Recipe(placement=QdqPlacement.ALL, estimator="minmax", float_nodes=("c",))
    excluded = insert_pairs(_point(2.0, 0.5), ranges, recipe)
    assert [node.op_type for node in excluded.graph.node] == ["Conv"]
    kinds = {node.op_type for node in insert_pairs(_point(2.0, 0.5), ranges, RECIPE).graph.node}
    assert kinds == {"QuantizeLinear", "DequantizeLinear", "Conv"}


def test_biases_make_up_for_the_mean_error() -> None:
    """Values that all round down by 0.4 of a step lose their mean, until the bias returns it."""
    model = _point(2.0, 0.5)
    quantized = insert_pairs(model, {"image": (0.0, 2.55), "out": (0.0, 6.0)}, RECIPE)
    image = np.array([0.104, 0.204, 0.304, 0.404], np.float32).reshape(1, 1, 1, 4)
    before = float((run(quantized, image) - run(model, image)).mean())
    assert before == pytest.approx(-0.008, abs=1e-4)
    corrected = correct_biases(model, quantized, ["c"], [{"image": image}])
    assert float((run(corrected, image) - run(model, image)).mean()) == pytest.approx(0, abs=1e-6)
    untouched = correct_biases(model, quantized, [], [{"image": image}])
    assert float((run(untouched, image) - run(model, image)).mean()) == pytest.approx(before)


def _residual() -> onnx.ModelProto:
    """Return x = relu(image + image), out = x + 0 * convolution(x)."""
    return graph_of(
        [
            helper.make_node("Add", ["image", "image"], ["sum"], name="s"),
            helper.make_node("Relu", ["sum"], ["x"], name="r"),
            helper.make_node("Conv", ["x", "w", "b"], ["y"], name="c"),
            helper.make_node("Add", ["x", "y"], ["out"], name="t"),
        ],
        (1, 1, 1, 4),
        "out",
        {"w": np.zeros((1, 1, 1, 1), np.float32), "b": np.zeros(1, np.float32)},
    )


@pytest.mark.parametrize("kept", ["all_but_trunks", "convolution_inputs_but_trunks"])
def test_a_trunk_in_float_is_not_rounded(kept: str) -> None:
    """Twice 0.004 is 0.008, whose step is 0.01: only the convolution reads it as 0.01."""
    ranges = {"sum": (0.0, 2.55), "x": (0.0, 2.55), "y": (0.0, 2.55), "image": (0.0, 2.55)}
    image = np.array([0.004, 0.006, 0.5, 1.0], np.float32).reshape(1, 1, 1, 4)
    free = insert_pairs(
        _residual(), ranges, Recipe(placement=QdqPlacement(kept), estimator="minmax")
    )
    assert run(free, image).ravel() == pytest.approx([0.008, 0.012, 1.0, 2.0], abs=1e-6)
    made_by = {node.output[0]: node.op_type for node in free.graph.node}
    assert [made_by[n.input[0]] for n in free.graph.node if n.op_type == "Conv"] == [
        "DequantizeLinear"
    ]
    # The twin: the same placement but for the trunk.
    rounded = insert_pairs(_residual(), ranges, RECIPE)
    assert run(rounded, image).ravel() == pytest.approx([0.01, 0.01, 1.0, 2.0], abs=1e-6)


def test_a_summand_of_an_integer_convolution_keeps_its_pair() -> None:
    """Between two pairs the convolution is computed in integers; in float it needs none."""
    ranges = {"x": (0.0, 2.55), "y": (0.0, 2.55), "image": (0.0, 2.55)}
    for names, summand in (((), "DequantizeLinear"), (("c",), "Conv")):
        placement = QdqPlacement.ALL_BUT_TRUNKS
        recipe = Recipe(placement=placement, estimator="minmax", float_nodes=names)
        graph = insert_pairs(_residual(), ranges, recipe).graph
        made_by = {node.output[0]: node.op_type for node in graph.node}
        assert [made_by[n.input[1]] for n in graph.node if n.name == "t"] == [summand]


def test_a_shuffle_keeps_the_range_it_came_with() -> None:
    """Fifths are levels of 1/255, not of 0.9/255: rounded to these they would change."""
    model = graph_of(
        [
            helper.make_node("Relu", ["image"], ["a"], name="r"),
            helper.make_node("DepthToSpace", ["a"], ["out"], name="d", blocksize=2),
        ],
        (1, 4, 1, 1),
        "out",
        {},
    )
    image = np.array([0.2, 0.4, 0.6, 0.8], np.float32).reshape(1, 4, 1, 1)
    recipe = Recipe(placement=QdqPlacement.ALL, estimator="minmax")
    ranges = {"image": (0.0, 1.0), "a": (0.0, 1.0)}
    got = run(insert_pairs(model, ranges | {"out": (0.0, 0.9)}, recipe), image)
    assert got.ravel() == pytest.approx(image.ravel(), abs=1e-6)
    # The twin: another range where it came from.
    other = run(insert_pairs(model, ranges | {"a": (0.0, 0.9)}, recipe), image)
    assert np.abs(other.ravel() - image.ravel()).max() > 1e-4


def test_symmetric_by_hand() -> None:
    """Range -1.27 to 1.27: int8 steps of 0.01 around zero, no zero point."""
    recipe = dataclasses.replace(RECIPE, symmetric=True)
    quantized = insert_pairs(_point(2.0, 0.5), {"image": (-1.27, 1.27), "out": (0.0, 6.0)}, recipe)
    image = np.array([-0.004, 0.006, -1.0, 3.0], np.float32).reshape(1, 1, 1, 4)
    assert run(quantized, image).ravel() == pytest.approx([0.5, 0.52, -1.5, 3.04], abs=1e-5)
    require_symmetric(quantized)
    with pytest.raises(ExportError, match="only int8 with zero point 0"):
        require_symmetric(insert_pairs(_point(2.0, 0.5), {"image": (0.0, 2.55)}, RECIPE))


def test_every_output_channel_has_a_scale_of_its_own() -> None:
    """0.02 beside 2.0: on a common scale of 2/127 it would become 0.0157."""
    model = graph_of(
        [helper.make_node("Conv", ["image", "w", "b"], ["out"], name="c")],
        (1, 1, 1, 1),
        "out",
        {
            "w": np.array([2.0, 0.02], np.float32).reshape(2, 1, 1, 1),
            "b": np.zeros(2, np.float32),
        },
    )
    quantized = insert_pairs(model, {"image": (0.0, 2.55), "out": (0.0, 6.0)}, RECIPE)
    image = np.ones((1, 1, 1, 1), np.float32)
    assert run(quantized, image).ravel() == pytest.approx([2.0, 0.02], rel=1e-5)
    scales = [
        onnx.numpy_helper.to_array(tensor)
        for tensor in quantized.graph.initializer
        if tensor.name == "w_scale"
    ]
    assert scales[0] == pytest.approx(np.array([2.0, 0.02]) / 127, rel=1e-5)
    zeros = [
        onnx.numpy_helper.to_array(tensor)
        for tensor in quantized.graph.initializer
        if tensor.name == "w_zero_point"
    ]
    assert zeros[0].dtype == np.int8
    assert not zeros[0].any()


def test_unsigned_activations_have_the_zero_point_of_their_range() -> None:
    """-1 to 1.55 in steps of 0.01: zero is level 100, and stays zero."""
    quantized = insert_pairs(_point(1.0, 0.0), {"image": (-1.0, 1.55), "out": (0.0, 6.0)}, RECIPE)
    found = {
        tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in quantized.graph.initializer
    }
    assert found["image_scale"] == pytest.approx(0.01, rel=1e-5)
    assert (found["image_zero_point"].dtype, int(found["image_zero_point"])) == (np.uint8, 100)
    image = np.array([-2.0, 0.0, 0.004, 2.0], np.float32).reshape(1, 1, 1, 4)
    assert run(quantized, image).ravel() == pytest.approx([-1.0, 0.0, 0.0, 1.55], abs=1e-5)


def test_biases_are_corrected_in_the_order_of_computation() -> None:
    """The second convolution's shift is what is left once the first's is corrected."""
    model = graph_of(
        [
            helper.make_node("Conv", ["image", "w1", "b1"], ["x"], name="first"),
            helper.make_node("Conv", ["x", "w2", "b2"], ["out"], name="second"),
        ],
        (1, 1, 1, 4),
        "out",
        {
            "w1": np.array(2.0, np.float32).reshape(1, 1, 1, 1),
            "b1": np.array([0.5], np.float32),
            "w2": np.array(3.0, np.float32).reshape(1, 1, 1, 1),
            "b2": np.array([0.25], np.float32),
        },
    )
    ranges = {"image": (0.0, 2.55), "x": (0.0, 2.55), "out": (0.0, 6.0)}
    quantized = insert_pairs(model, ranges, RECIPE)
    image = np.array([0.104, 0.204, 0.304, 0.404], np.float32).reshape(1, 1, 1, 4)
    feeds = [{"image": image}]
    both = correct_biases(model, quantized, ["first", "second"], feeds)
    assert float((run(both, image) - run(model, image)).mean()) == pytest.approx(0, abs=1e-6)
    # Whichever is named first: the graph has the order.
    turned = correct_biases(model, quantized, ["second", "first"], feeds)
    assert turned.SerializeToString() == both.SerializeToString()
    # The twin: each corrected as if it were alone, the second makes up for the first once more.
    alone = correct_biases(model, quantized, ["second"], feeds)
    _bias(both, "b2").CopyFrom(_bias(alone, "b2"))
    assert abs(float((run(both, image) - run(model, image)).mean())) > 1e-3


def _bias(model: onnx.ModelProto, name: str) -> onnx.TensorProto:
    return next(tensor for tensor in model.graph.initializer if tensor.name == name)
