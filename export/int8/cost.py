"""An estimate of the cost of leaving a convolution in float32 among int8 ones.

It replaces measured times: single convolutions differ by less than the noise of a busy machine, and
a repeated search should give the same result.
"""

from collections.abc import Mapping, Sequence
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


@dataclass(frozen=True, kw_only=True)
class Gain:
    """The gain of leaving some convolutions in float32.

    Attributes:
        names: names of the convolutions, neighbours in the order of computation.
        gain_db: PSNR in dB.
    """

    names: tuple[str, ...]
    gain_db: float

    @property
    def title(self) -> str:
        """The convolutions and the gain, for people."""
        first, last = self.names[0], self.names[-1]
        return f"{first if first == last else f'{first} to {last}'} ({self.gain_db:.3f} dB)"


def blocks_of(names: Sequence[str], most: int) -> list[tuple[str, ...]]:
    """Return at most `most` blocks of neighbouring names, of one size but for the last."""
    size = -(-len(names) // most)
    return [tuple(names[i : i + size]) for i in range(0, len(names), size)] if size else []


def float_choices(gains: Sequence[Gain], costs: Mapping[str, int]) -> list[tuple[str, ...]]:
    """Return the sets of convolutions to try in float32, from the lowest total cost on.

    The sets hold the blocks with the largest gains, or with the largest ratios of gain to cost.

    Args:
        gains: the blocks and their gains.
        costs: the cost of leaving a convolution in float32 (`Work.in_float`), by name.
    """

    def cost_of(names: Sequence[str]) -> int:
        return sum(costs[name] for name in names)

    by_gain = sorted(gains, key=lambda gain: -gain.gain_db)
    by_ratio = sorted(gains, key=lambda gain: -gain.gain_db / cost_of(gain.names))
    # Each set occurs once, whatever its order, since equal sets make equal models.
    choices: dict[frozenset[str], tuple[str, ...]] = {}
    for count in _COUNTS:
        for order in (by_gain, by_ratio):
            names = tuple(name for gain in order[:count] for name in gain.names)
            if names:
                choices[frozenset(names)] = names
    return sorted(choices.values(), key=cost_of)
