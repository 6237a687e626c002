"""Functions that run a model, and the comparison of their times."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

Feed = Mapping[str, NDArray[Any]]
ModelRunner = Callable[[Feed], Mapping[str, NDArray[Any]]]
"""Maps inputs by name to outputs by name."""

TURN = 3
"""Number of untimed runs of a model, and of timed runs after them, before the next model's turn."""


def time_in_turns(
    runs: Sequence[ModelRunner], feed: Feed, *, rounds: int, seconds: float = math.inf
) -> list[list[float]]:
    """Return the measured times of each run in milliseconds, `TURN` per round.

    The runs take turns, so that other load on the machine affects all alike. Each turn starts with
    untimed runs, because the previous one leaves cold caches, and threads that wait for work and
    occupy a core: without them, a model of 6 ms took 10 ms, and one of 15 ms took 27 ms.

    Args:
        runs: the functions to time.
        feed: their inputs, by name.
        rounds: the largest number of rounds.
        seconds: no round starts after this time; long runs need fewer rounds, since they are
            disturbed less.
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
