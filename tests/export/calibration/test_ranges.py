"""Observed ranges, on graphs small enough to know them."""

import numpy as np
import pytest
from onnx import helper

from export.calibration import ranges as ranges_module
from export.calibration.ranges import TensorStatistics, sample_size, sample_stride
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


@pytest.mark.parametrize(
    ("tensors", "feeds", "values"),
    [
        (313, 128, 4096),  # `nano`
        (871, 128, 1805),  # `sr` of published size
        (1, 1, 4096),
        (10**6, 10**6, 1),
    ],
)
def test_samples_take_768_megabytes_at_most(tensors: int, feeds: int, values: int) -> None:
    assert sample_size(tensors, feeds) == values


@pytest.mark.parametrize("count", [1, 7, 1805, 4096])
def test_strides_are_odd_and_take_no_more_than_is_asked_for(count: int) -> None:
    for size in (1, 2, 63, 64, count, count + 1, 2 * count - 1, 2 * count, 3 * 256 * 256):
        stride = sample_stride(size, count)
        taken = len(range(0, size, stride))
        assert stride % 2 == 1
        assert taken <= count
        # And not much less: a step of two more would be too many.
        assert taken == size or (size / count) + 2 > stride


def test_large_models_have_fewer_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """But all extremes: here, 4 tensors of 64 values on 2 images in 320 bytes."""
    monkeypatch.setattr(ranges_module, "_SAMPLES_BYTES", 320)
    observed = _residual(2.0)
    assert {each.counts.sum() for each in observed.values()} == {2 * 10}  # every seventh
    assert (observed["sum"].low, observed["sum"].high) == (0, 3 * HIGH)


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


def _least_error(statistics: TensorStatistics, symmetric: bool) -> tuple[float, float]:
    """Try every pair of ends from 1 to 0.4 in 25 steps: rounding error inside, clipping outside."""
    ends = [1 - 0.025 * i for i in range(25)]
    width = (statistics.high - statistics.low) / len(statistics.counts)
    low, high = statistics.floor, statistics.high
    if symmetric:
        low, high = -max(-low, high), max(-low, high)
    found = []
    for a in ends:
        for b in [a] if symmetric else ends:
            step = (b * high - a * low) / (254 if symmetric else 255)
            error = 0.0
            for i, count in enumerate(statistics.counts):
                value = max(statistics.low + (i + 0.5) * width, statistics.floor)
                beyond = max(a * low - value, value - b * high, 0.0)
                error += count * (beyond**2 if beyond else step**2 / 12)
            found.append((error, (a * low, b * high)))
    return min(found)[1]


@pytest.mark.parametrize("symmetric", [False, True])
def test_ends_are_where_the_error_is_least(symmetric: bool) -> None:
    """On histograms with tails of several lengths; the floor cuts the lower one."""
    rng = np.random.default_rng(0)
    for tail in (3, 30, 300):
        values = rng.standard_t(df=3, size=4000)
        values = np.clip(values, -tail, tail / 2)
        counts, _ = np.histogram(values, 64)
        statistics = TensorStatistics(
            low=float(values.min()), high=float(values.max()), floor=-2.0, counts=counts
        )
        found = statistics.estimate("mse", symmetric=symmetric)
        assert found == pytest.approx(_least_error(statistics, symmetric), rel=1e-9)
        assert found != pytest.approx((statistics.floor, statistics.high), rel=1e-9) or tail == 3


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
