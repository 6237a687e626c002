"""Intervals by hand, by their properties, and by simulation."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.speed.intervals import CONFIDENCE, median_interval, turn_ratios

_TIMES = st.lists(st.floats(0.1, 1e4), min_size=6, max_size=40)


def test_six_turns_by_hand() -> None:
    # All six lie on one side of the median with probability 2 / 64.
    found = median_interval([3.0, 1.0, 6.0, 2.0, 5.0, 4.0])
    assert found is not None
    assert (found.low, found.middle, found.high) == (1.0, 3.5, 6.0)
    assert found.coverage == 1 - 2 / 64


def test_twenty_turns_by_hand() -> None:
    # P(B <= 5) for B ~ (20, 1/2) is 21700 / 2^20; with 6 it would be 0.0577.
    found = median_interval([float(value) for value in range(20, 0, -1)])
    assert found is not None
    assert (found.low, found.middle, found.high) == (6.0, 10.5, 15.0)
    assert found.coverage == pytest.approx(1 - 2 * 21700 / 2**20, abs=1e-12)


def test_five_turns_are_too_few() -> None:
    assert median_interval([1.0, 2.0, 3.0, 4.0, 5.0]) is None


@given(_TIMES)
def test_an_interval_encloses_its_median_and_is_the_shortest(values: list[float]) -> None:
    found = median_interval(values)
    assert found is not None
    assert found.low <= found.middle <= found.high
    assert found.coverage >= CONFIDENCE
    k = sorted(values).index(found.low) + 1
    tail = sum(math.comb(len(values), i) for i in range(k + 1)) / 2 ** len(values)
    same = sorted(values)[k : k + 1] == [found.low]
    assert same or 1 - 2 * tail < CONFIDENCE or k == len(values) // 2


@given(_TIMES, st.floats(0.01, 100))
def test_other_units_scale_an_interval(values: list[float], factor: float) -> None:
    one, other = median_interval(values), median_interval([factor * value for value in values])
    assert one is not None
    assert other is not None
    assert (other.low, other.high) == pytest.approx((factor * one.low, factor * one.high))


@given(st.lists(st.tuples(st.floats(1, 100), st.floats(1, 100)), min_size=1, max_size=20))
def test_load_that_slows_a_whole_turn_cancels(turns: list[tuple[float, float]]) -> None:
    """A row that takes half as long as the reference is twice as fast, whatever the load."""
    reference = [[2 * time * load] * 3 for time, load in turns]
    row = [[time * load] * 3 for time, load in turns]
    assert turn_ratios(reference, row) == pytest.approx([2.0] * len(turns))


def test_ratio_by_hand() -> None:
    # Medians of the turns: 30 and 40 over 10 and 20; the outliers do not count.
    assert turn_ratios([[30, 29, 900], [40, 40]], [[10, 10, 10], [1, 20, 300]]) == [3.0, 2.0]


def test_true_medians_are_covered_as_often_as_said() -> None:
    """Of 2000 samples of 20 times with a heavy tail; the said coverage is 0.9586.

    Tolerance: 3 standard deviations of 2000 draws, 0.0134. The corrupted interval is one rank
    too short at both ends (0.8847) and fails.
    """
    draws = np.random.default_rng(0).pareto(1.5, (2000, 20)) + 1
    median = 2 ** (1 / 1.5)
    ordered = np.sort(draws, axis=1)
    covered = []
    for sample in draws:
        found = median_interval(sample.tolist())
        assert found is not None
        covered.append(found.low <= median <= found.high)
    assert abs(np.mean(covered) - 0.9586) < 0.0134
    shorter = np.mean((ordered[:, 6] <= median) & (median <= ordered[:, 13]))
    assert not abs(shorter - 0.9586) < 0.0134
