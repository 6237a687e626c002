"""What runs an artifact, and how long that takes beside others."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

Feed = Mapping[str, NDArray[Any]]
Run = Callable[[Feed], Mapping[str, NDArray[Any]]]
"""Inputs by name to outputs by name."""

TURN = 3
"""Runs of a graph without a change to another: so many untimed, then so many timed."""


def time_in_turns(
    runs: Sequence[Run], feed: Feed, *, rounds: int, seconds: float = math.inf
) -> list[list[float]]:
    """Return the milliseconds of each, `TURN` times in each of the rounds.

    No round is begun once so many seconds have passed: what takes long is disturbed less.

    In turns, so that whatever else the machine does falls on all alike; a turn begins untimed,
    because the one before leaves cold caches and threads that wait for more work and take a core:
    without it, a graph of 6 ms took 10, and one of 15 ms took 27.
    """
    times: list[list[float]] = [[] for _ in runs]
    until = time.perf_counter() + seconds
    for number in range(rounds):
        if number and time.perf_counter() > until:
            break
        for run, collected in zip(runs, times, strict=True):
            for _ in range(TURN):
                run(feed)
            for _ in range(TURN):
                started = time.perf_counter()
                run(feed)
                collected.append(1000 * (time.perf_counter() - started))
    return times
