"""Observed ranges, on graphs small enough to know them."""

import numpy as np
import pytest
from onnx import helper

from export.calibration.ranges import TensorStatistics
from export.qdq.observe import observe
from tests.export.qdq.graphs import graph_of

HIGH = np.float32(0.5)


def _residual(negative: float) -> dict[str, TensorStatistics]:
    """Observe relu(x + h) with h = `negative` x, for x from 0 to 0.5."""
    model = graph_of(
        [
            helper.make_node("Mul", ["image", "factor"], ["h"]),
            helper.make_node("Add", ["image", "h"], ["sum"]),
            helper.make_node("Relu", ["sum"], ["out"]),
        ],
        (1, 1, 8, 8),
        "out",
        {"factor": np.array(negative, np.float32)},
    )
    image = np.linspace(0, HIGH, 64, dtype=np.float32).reshape(1, 1, 8, 8)
    return observe(model, [{"image": image}, {"image": image / 2}])


def test_extremes_over_all_images() -> None:
    observed = _residual(2.0)
    assert (observed["image"].low, observed["image"].high) == (0, HIGH)
    assert (observed["sum"].low, observed["sum"].high) == (0, 3 * HIGH)
    assert observed["out"].counts.sum() == 2 * 64


def test_a_relu_hides_what_lies_below_minus_the_other_branch() -> None:
    observed = _residual(-4.0)
    assert observed["h"].low == -4 * HIGH
    assert observed["h"].floor == -HIGH
    assert observed["h"].estimate("minmax") == (-HIGH, 0)
    assert observed["sum"].floor == observed["sum"].low  # the ReLU itself reads it
    # The twin: a branch that stays above is left whole.
    assert _residual(-0.5)["h"].floor == -0.5 * HIGH


def test_an_outlier_is_clipped_where_that_errs_less() -> None:
    counts = np.zeros(2048, np.int64)
    counts[:512] = 10_000  # values from 0 to 1
    counts[-1] = 1  # and one of 4
    statistics = TensorStatistics(low=0, high=4, floor=0, counts=counts)
    assert statistics.estimate("minmax") == (0, 4)
    assert statistics.estimate("mse")[1] == pytest.approx(0.4 * 4)  # as far in as is allowed
    # The twin: spread evenly, nothing is worth clipping.
    even = TensorStatistics(low=0, high=4, floor=0, counts=np.full(2048, 100))
    assert even.estimate("mse") == (0, 4)


def test_symmetric_ranges() -> None:
    """Zero in the middle, and never less than what was seen unless error is won by it."""
    counts = np.zeros(2048, np.int64)
    counts[[0, 1024, -1]] = 1
    statistics = TensorStatistics(low=-1.0, high=3.0, floor=-1.0, counts=counts)
    assert statistics.estimate("minmax") == (-1.0, 3.0)
    assert statistics.estimate("minmax", symmetric=True) == (-3.0, 3.0)
    counts[1024] = 10**6
    low, high = statistics.estimate("mse", symmetric=True)
    assert low == -high
    assert high < 3.0
