"""Calls take turns, quick ones with untimed runs first; ratios are of rounds."""

import itertools

import numpy as np
import pytest

from benchmarks import turns
from benchmarks.turns import median, p90, ratio, take_turns


def test_quick_calls_are_warmed_and_slow_ones_run_once(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    clock = itertools.count()
    cost = {"quick": 0.001, "slow": 1.0}
    now = 0.0

    def tick() -> float:
        next(clock)
        return now

    def call(name: str) -> None:
        nonlocal now
        order.append(name)
        now += cost[name]

    monkeypatch.setattr(turns.time, "perf_counter", tick)
    times = take_turns({name: lambda name=name: call(name) for name in cost}, rounds=2)
    # A second untimed run confirms that a call is slow, and not only its first run.
    assert order == ["quick", "slow", "slow", *(["quick"] * 6 + ["slow"]) * 2]
    assert [len(each) for each in times["quick"]] == [3, 3]
    assert median(times["quick"]) == pytest.approx(1)
    assert times["slow"] == [[pytest.approx(1000)], [pytest.approx(1000)]]


def test_medians_over_all_rounds() -> None:
    rounds = [[1.0, 2.0, 9.0], [3.0, 4.0, 5.0]]
    assert median(rounds) == 3.5
    assert p90(rounds) is None  # of six runs it would be the slowest
    assert p90([[1.0] * 9, [11.0, 21.0]]) == pytest.approx(11.0)


def test_ratio_by_hand() -> None:
    # Rounds of ratios e^0.1 and e^0.3: mean e^0.2; the error of the mean is 0.1, t is 12.7062.
    found = ratio([[np.exp(0.1)] * 3, [np.exp(0.3)]], [[1.0], [1.0]])
    assert found.value == pytest.approx(np.exp(0.2))
    assert found.high == pytest.approx(np.exp(0.2 + 1.27062), rel=1e-4)
    assert found.low == pytest.approx(np.exp(0.2 - 1.27062), rel=1e-4)
    # The twin: the other way round.
    assert ratio([[1.0], [1.0]], [[np.exp(0.1)], [np.exp(0.3)]]).value < 1
    assert ratio([[6.0]], [[3.0]]).rounded() == {"value": 2.0, "low": None, "high": None}
