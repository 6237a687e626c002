"""Confidence intervals of medians and of ratios of speed.

Nothing is assumed about how times are distributed: the interval of a median lies between two order
statistics (the interval of the sign test). Other load on the machine slows all rows of a turn, so a
ratio is taken within each turn, where the common factor cancels, and the turns' ratios are what the
interval is computed from.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

CONFIDENCE = 0.95
"""Probability that an interval covers the true median, at least."""

Turns = Sequence[Sequence[float]]
"""Milliseconds of a row, by turn."""


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A median and the interval that covers the true one.

    Attributes:
        middle: the sample's median.
        low: lower end, an order statistic of the sample.
        high: upper end.
        coverage: probability that [low, high] holds the true median, for independent values.
    """

    middle: float
    low: float
    high: float
    coverage: float


def median_interval(values: Sequence[float]) -> Interval | None:
    """Return the shortest symmetric interval of order statistics with enough coverage.

    Of n sorted values, the k-th from either end enclose the median with a probability of
    1 - 2 P(B <= k - 1), where B is binomial (n, 1/2).

    Args:
        values: independent draws, at least one.

    Returns:
        The interval; None where even the extremes cover less than `CONFIDENCE` (fewer than 6).
    """
    ordered = sorted(values)
    count = len(ordered)
    found: tuple[int, float] | None = None
    tail = 0.0
    for k in range(1, count // 2 + 1):
        tail += math.comb(count, k - 1) / 2**count
        if 1 - 2 * tail < CONFIDENCE:
            break
        found = (k, 1 - 2 * tail)
    if found is None:
        return None
    k, coverage = found
    return Interval(
        middle=float(np.median(ordered)),
        low=ordered[k - 1],
        high=ordered[count - k],
        coverage=coverage,
    )


def turn_ratios(reference: Turns, row: Turns) -> list[float]:
    """Return, for each turn that both have, the reference's median time over the row's."""
    return [
        float(np.median(one)) / float(np.median(other))
        for one, other in zip(reference, row, strict=False)
    ]
