"""Compensated rounding: on the grid, and nearer in what the convolution gives."""

import numpy as np
import pytest
from onnx import helper, numpy_helper

from elir_edge.errors import ExportError
from export.qdq import rounding
from export.qdq.rounding import (
    _factor_of_inverse,
    _patches,
    passes_of,
    round_to_grid,
    round_weights,
)
from tests.export.qdq.graphs import graph_of, run


def _kernel() -> np.ndarray:  # type: ignore[type-arg]
    return np.random.default_rng(0).standard_normal((6, 4, 3, 3)).astype(np.float32)


def _smooth(seed: int) -> np.ndarray:  # type: ignore[type-arg]
    """Return an image whose neighbours are alike, as in photos."""
    noise = np.random.default_rng(seed).standard_normal((1, 4, 24, 24))
    return np.cumsum(np.cumsum(noise, axis=2), axis=3).astype(np.float32) / 24


def _nearest(kernel: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
    scale = np.abs(kernel).max(axis=(1, 2, 3), keepdims=True) / 127
    return (np.round(kernel / scale) * scale).astype(np.float32)


def test_on_the_grid_and_the_greatest_kept() -> None:
    kernel = _kernel()
    rounded = round_to_grid(kernel, np.eye(36) + 0.5)
    scale = np.abs(kernel).max(axis=(1, 2, 3), keepdims=True) / 127
    levels = rounded / scale
    assert np.abs(levels - np.rint(levels)).max() < 1e-3
    assert np.allclose(np.abs(rounded).max(axis=(1, 2, 3), keepdims=True), 127 * scale)


def test_uncorrelated_taps_are_rounded_to_the_nearest() -> None:
    kernel = _kernel()
    assert np.allclose(round_to_grid(kernel, np.eye(36)), _nearest(kernel), atol=1e-6)


def test_errs_less_on_images_it_has_not_seen() -> None:
    """Than nearest rounding, by half at least; the twin is rounded for quite other images."""
    kernel = _kernel()
    node = helper.make_node("Conv", ["image", "w"], ["out"], name="c", pads=[1, 1, 1, 1])
    model = graph_of([node], (1, 4, 24, 24), "out", {"w": kernel})

    def error(weights: np.ndarray) -> float:  # type: ignore[type-arg]
        other = graph_of([node], (1, 4, 24, 24), "out", {"w": weights})
        return float(np.mean((run(other, _smooth(9)) - run(model, _smooth(9))) ** 2))

    rounded = round_weights(model, ["c"], [{"image": _smooth(i)} for i in range(4)])
    weights = numpy_helper.to_array(rounded.graph.initializer[0])
    assert error(weights) < 0.5 * error(_nearest(kernel))
    checkered = (-1) ** np.indices((24, 24)).sum(axis=0)
    twin = round_weights(
        model, ["c"], [{"image": (_smooth(i) * checkered).astype(np.float32)} for i in range(4)]
    )
    assert error(numpy_helper.to_array(twin.graph.initializer[0])) > error(weights)


def test_a_kernel_that_others_read_is_left_alone() -> None:
    nodes = [
        helper.make_node("Conv", ["image", "w"], ["a"], name="one"),
        helper.make_node("Conv", ["a", "w"], ["out"], name="two"),
    ]
    kernel = np.random.default_rng(0).standard_normal((4, 4, 1, 1)).astype(np.float32)
    model = graph_of(nodes, (1, 4, 24, 24), "out", {"w": kernel})
    feeds = [{"image": _smooth(0)}]
    alone = round_weights(model, ["one"], feeds).graph.initializer[0]
    assert np.array_equal(numpy_helper.to_array(alone), kernel)
    both = round_weights(model, ["one", "two"], feeds).graph.initializer[0]
    assert not np.array_equal(numpy_helper.to_array(both), kernel)


def test_shared_kernels_are_held_a_few_at_a_time() -> None:
    """Of 3 x 3 kernels of 4, 8 and 2 inputs X'X takes 8 (9 n)^2 bytes; read once, it costs none."""
    shapes = {name: (5, n, 3, 3) for name, n in (("a", 4), ("b", 8), ("c", 2), ("once", 99))}
    readers = {"a": 3, "b": 3, "once": 1, "c": 2}
    a, b, c = (8 * (9 * n) ** 2 for n in (4, 8, 2))
    assert passes_of(readers, shapes, a + b + c) == [{"a", "b", "c", "once"}]
    assert passes_of(readers, shapes, a + b + c - 1) == [{"a", "b", "once"}, {"c"}]
    assert passes_of(readers, shapes, b + c) == [{"a"}, {"b", "once", "c"}]
    assert passes_of(readers, shapes, 1) == [{"a"}, {"b", "once"}, {"c"}]
    assert passes_of({}, {}, 1) == [set()]


def test_several_passes_round_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each pass sees the activations of the model as it was, not of what is rounded already."""
    nodes = [
        helper.make_node("Conv", ["image", "w"], ["a"], name="one", pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["a", "v"], ["b"], name="two", pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["b", "w"], ["c"], name="three", pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["c", "v"], ["out"], name="four", pads=[1, 1, 1, 1]),
    ]
    rng = np.random.default_rng(0)
    weights = {n: rng.standard_normal((4, 4, 3, 3)).astype(np.float32) / 6 for n in ("w", "v")}
    model = graph_of(nodes, (1, 4, 24, 24), "out", weights)
    feeds = [{"image": _smooth(i)} for i in range(3)]
    names = ["one", "two", "three", "four"]
    at_once = round_weights(model, names, feeds)
    monkeypatch.setattr(
        rounding,
        "passes_of",
        lambda readers, shapes: passes_of(readers, shapes, 1),
    )
    singly = round_weights(model, names, feeds)
    for one, other in zip(at_once.graph.initializer, singly.graph.initializer, strict=True):
        assert np.array_equal(numpy_helper.to_array(one), numpy_helper.to_array(other))
        assert not np.array_equal(numpy_helper.to_array(one), weights[one.name])


def test_patches_are_what_a_strided_kernel_sees() -> None:
    """3 x 2 kernels, strides 2 and 3, uneven pads: every patch is one of those by hand."""
    image = np.arange(1, 2 * 5 * 7 + 1, dtype=np.float32).reshape(2, 5, 7)
    node = helper.make_node("Conv", ["image", "w"], ["out"], pads=[1, 0, 2, 1], strides=[2, 3])
    padded = np.zeros((2, 8, 8), np.float32)
    padded[:, 1:6, :7] = image
    by_hand = {
        tuple(padded[:, top : top + 3, left : left + 2].ravel())
        for top in range(0, 6, 2)
        for left in range(0, 7, 3)
    }
    assert len(by_hand) == 9
    found = _patches(image, node, (4, 2, 3, 2), seed=0)
    assert found.shape == (9, 12)  # as many as there are places, drawn with repetition
    assert {tuple(patch) for patch in found} <= by_hand
    seen = {
        tuple(patch)
        for seed in range(40)
        for patch in _patches(image, node, (4, 2, 3, 2), seed=seed)
    }
    assert seen == by_hand
    # The twin: without the strides there are others.
    plain = helper.make_node("Conv", ["image", "w"], ["out"], pads=[1, 0, 2, 1])
    dense = {tuple(p) for seed in range(9) for p in _patches(image, plain, (4, 2, 3, 2), seed=seed)}
    assert dense - by_hand


def test_a_convolution_without_attributes_sees_every_place() -> None:
    image = np.arange(12, dtype=np.float32).reshape(1, 3, 4)
    node = helper.make_node("Conv", ["image", "w"], ["out"])
    by_hand = {
        tuple(image[0, top : top + 2, left : left + 2].ravel())
        for top in range(2)
        for left in range(3)
    }
    seen = {tuple(p) for seed in range(20) for p in _patches(image, node, (1, 1, 2, 2), seed=seed)}
    assert seen == by_hand


@pytest.mark.parametrize("size", [1, 2, 36, 200])
def test_the_factor_by_its_definition(size: int) -> None:
    """U is upper triangular, and U'U H is the identity to 1e-9; H itself is not changed."""
    patches = np.random.default_rng(size).normal(size=(3 * size, size))
    product = patches.T @ patches
    kept = product.copy()
    upper = _factor_of_inverse(product)
    assert np.array_equal(product, kept)
    assert np.array_equal(upper, np.triu(upper))
    damped = product + 0.01 * np.mean(np.diag(product)) * np.eye(size)
    assert np.allclose(upper.T @ upper @ damped, np.eye(size), atol=1e-9)
    # The twin: the other triangle's product.
    assert size == 1 or not np.allclose(upper @ upper.T @ damped, np.eye(size), atol=1e-3)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(value: float) -> None:
    product = np.eye(4)
    product[1, 2] = product[2, 1] = value
    with pytest.raises(ExportError, match="inputs on the calibration crops are not finite"):
        _factor_of_inverse(product)
