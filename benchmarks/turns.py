"""Times of several calls in one process, taken in turns, so that other load falls on all alike."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

_TURN = 3
"""Runs without a change to another call: so many untimed, then so many timed (`time_in_turns`)."""
_SLOW_SECONDS = 0.4
"""Calls that take longer run once a turn, without untimed runs: cold caches matter little then."""

_LEAST_FOR_P90 = 10

Calls = Mapping[str, Callable[[], object]]
Rounds = list[list[float]]
"""Milliseconds of a call, by round."""


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """How much faster one call is than another, with its 95 % confidence interval.

    Attributes:
        value: geometric mean, over rounds, of the ratio of a round's medians.
        low: lower end of the interval; None for a single round.
        high: upper end.
    """

    value: float
    low: float | None
    high: float | None

    def __str__(self) -> str:
        """Return the ratio and its interval."""
        if self.low is None:
            return f"{self.value:.2f}"
        return f"{self.value:.2f} ({self.low:.2f} to {self.high:.2f})"

    def rounded(self) -> dict[str, float | None]:
        """Return JSON values."""
        return {k: None if v is None else round(v, 3) for k, v in asdict(self).items()}


def take_turns(
    calls: Calls, rounds: int, told: Callable[[str], Any] = lambda title: None
) -> dict[str, Rounds]:
    """Time all calls in each of the rounds.

    Args:
        calls: by title; each is called once or twice, untimed, before anything is timed.
        rounds: at least one.
        told: the title of the call whose turn begins.
    """
    slow = {}
    for title, call in calls.items():
        told(title)
        # The first run may prepare what later ones find.
        slow[title] = _seconds(call) > _SLOW_SECONDS and _seconds(call) > _SLOW_SECONDS
    times: dict[str, Rounds] = {title: [] for title in calls}
    for _ in range(rounds):
        for title, call in calls.items():
            told(title)
            for _ in range(0 if slow[title] else _TURN):
                call()
            count = 1 if slow[title] else _TURN
            times[title].append([1000 * _seconds(call) for _ in range(count)])
    return times


def _seconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def median(rounds: Rounds) -> float:
    """Return the median over all rounds, in milliseconds."""
    return float(np.median(np.concatenate(rounds)))


def p90(rounds: Rounds) -> float | None:
    """Return what nine tenths of the runs took at most, in milliseconds; None: of too few runs."""
    times = np.concatenate(rounds)
    return float(np.percentile(times, 90)) if len(times) >= _LEAST_FOR_P90 else None


def ratio(slower: Sequence[Sequence[float]], faster: Sequence[Sequence[float]]) -> Ratio:
    """Compare two calls that took turns, round by round."""
    logs = [float(np.log(np.median(a) / np.median(b))) for a, b in zip(slower, faster, strict=True)]
    mean = float(np.mean(logs))
    if len(logs) == 1:
        return Ratio(value=float(np.exp(mean)), low=None, high=None)
    half = half_width(float(np.std(logs, ddof=1) / np.sqrt(len(logs))), len(logs) - 1)
    return Ratio(
        value=float(np.exp(mean)), low=float(np.exp(mean - half)), high=float(np.exp(mean + half))
    )


def half_width(standard_error: float, degrees_of_freedom: int) -> float:
    """Return half of a 95 % confidence interval, by Student's t."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees_of_freedom, 0.975)) * standard_error
