"""What a convolution costs that is left in float32 among 8-bit ones, told without timing it.

Timed one by one, they differ by less than the noise of a busy machine, and a search is to find the
same again.
"""

from collections.abc import Mapping
from dataclasses import dataclass

_MACS_PER_VALUE = 32
"""A value read or made takes as long as so many multiply-accumulates in float32: of `nano` in
LiteRT on two cores, 151 million of them with half a million values cost 1.0 ms more than in 8 bits,
14 million with 0.7 million values 0.4 ms."""
_COUNTS = (2, 6, 12)
"""Convolutions in float32 that are tried."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """What one convolution does.

    Attributes:
        macs: multiply-accumulates.
        values: that it reads and makes, weights aside.
    """

    macs: int
    values: int

    @property
    def in_float(self) -> int:
        """Return the cost of leaving it in float32, in multiply-accumulates."""
        return self.macs + _MACS_PER_VALUE * self.values


def float_choices(wins: Mapping[str, float], costs: Mapping[str, int]) -> list[tuple[str, ...]]:
    """Return the sets of convolutions to try in float32, those first that cost least.

    Few that win much, or more of those that win most for what they cost.

    Args:
        wins: decibels that each convolution wins in float32.
        costs: what it costs there (`Work.in_float`).
    """
    by_win = sorted(wins, key=lambda name: -wins[name])
    by_ratio = sorted(wins, key=lambda name: -wins[name] / costs[name])
    # Each set once, whatever its order: a recipe is the same then.
    choices = {
        frozenset(order[:count]): tuple(order[:count])
        for count in _COUNTS
        for order in (by_win, by_ratio)
        if wins
    }
    return sorted(choices.values(), key=lambda names: sum(costs[name] for name in names))
