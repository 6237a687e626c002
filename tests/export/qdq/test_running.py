"""Times taken in turns, by a clock that the runs themselves advance."""

import time
from collections.abc import Mapping

import pytest

from export.calibration.timing import TURN, Feed, ModelRunner, time_in_turns

_COLD, _A, _B = 1.0, 0.002, 0.005


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the time, which stands still but for what is added to it."""
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    return now


def _run(name: str, seconds: float, clock: list[float], order: list[str]) -> ModelRunner:
    """Return a run that takes longer after another one."""

    def run(feed: Feed) -> Mapping[str, object]:
        clock[0] += seconds + (_COLD if order[-1:] != [name] else 0.0)
        order.append(name)
        return {}

    return run  # type: ignore[return-value]


def test_turns_begin_untimed(clock: list[float]) -> None:
    order: list[str] = []
    runs = [_run("a", _A, clock, order), _run("b", _B, clock, order)]
    a, b = time_in_turns(runs, {}, rounds=2)
    assert order == 2 * (2 * TURN * ["a"] + 2 * TURN * ["b"])
    assert a == pytest.approx(2 * TURN * [1000 * _A])
    assert b == pytest.approx(2 * TURN * [1000 * _B])


def test_no_round_begins_after_its_time(clock: list[float]) -> None:
    order: list[str] = []
    runs = [_run("a", _A, clock, order)]
    one_round = _COLD + 2 * TURN * _A
    (times,) = time_in_turns(runs, {}, rounds=6, seconds=one_round - TURN * _A)
    assert len(times) == TURN
    # The twin: there is time for a second round.
    order.clear()
    (times,) = time_in_turns(runs, {}, rounds=6, seconds=one_round + TURN * _A)
    assert len(times) == 2 * TURN
