"""Compensated rounding: on the grid, and nearer in what the convolution gives."""

import numpy as np
from onnx import helper, numpy_helper

from export.int8.rounding import round_to_grid, round_weights
from tests.export.int8.graphs import graph_of, run


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
