"""An estimate of the cost of leaving a convolution in float32 among int8 ones.

It replaces measured times: single convolutions differ by less than the noise of a busy machine, and
a repeated search should give the same result.
"""

from collections.abc import Mapping
from dataclasses import dataclass

_MACS_PER_VALUE = 32
"""Float32 multiply-accumulates that take as long as one value that is read or written.

It was measured on `nano` in LiteRT on two cores. There, 151 million multiply-accumulates with 0.5
million values take 1.0 ms longer in float32 than in int8, and 14 million with 0.7 million values
take 0.4 ms longer.
"""
_COUNTS = (2, 6, 12)
"""Numbers of convolutions to try in float32."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """The work of one convolution.

    Attributes:
        macs: number of multiply-accumulates.
        values: number of values that it reads and writes, without the weights.
    """

    macs: int
    values: int

    @property
    def in_float(self) -> int:
        """The cost of leaving it in float32, in multiply-accumulates."""
        return self.macs + _MACS_PER_VALUE * self.values


def float_choices(wins: Mapping[str, float], costs: Mapping[str, int]) -> list[tuple[str, ...]]:
    """Return the sets of convolutions to try in float32, from the lowest total cost on.

    The sets hold the convolutions with the largest gains, or with the largest ratios of gain to
    cost.

    Args:
        wins: PSNR that leaving each convolution in float32 gains, in dB, by name.
        costs: the cost of leaving it in float32 (`Work.in_float`), by name.
    """
    by_win = sorted(wins, key=lambda name: -wins[name])
    by_ratio = sorted(wins, key=lambda name: -wins[name] / costs[name])
    # Each set occurs once, whatever its order, since equal sets make equal models.
    choices = {
        frozenset(order[:count]): tuple(order[:count])
        for count in _COUNTS
        for order in (by_win, by_ratio)
        if wins
    }
    return sorted(choices.values(), key=lambda names: sum(costs[name] for name in names))
