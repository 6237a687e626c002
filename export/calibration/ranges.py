"""The range of every activation, observed on calibration crops.

Two estimators. `minmax` takes the extremes. `mse` pulls both ends in to where rounding error inside
plus clipping error outside is least; its error is estimated on a sample of each tensor's values.

A range may end early at no cost where a ReLU follows. In relu(x + h) a value of h below -max(x)
gives 0 whatever it is, so the range of h begins there (`floor`): residual branches that push
channels far below zero would otherwise spend their 255 levels on what the ReLU discards.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Estimator = Literal["minmax", "mse"]
Range = tuple[float, float]

SAMPLE = 4096
"""Values kept of each tensor and image."""
_BINS = 2048
_SHRINKS = np.linspace(1.0, 0.4, 25)


@dataclass(frozen=True, kw_only=True)
class Observed:
    """What a tensor was seen to hold.

    Attributes:
        low: its least value.
        high: its greatest value.
        floor: the least value that makes a difference; `low` unless a ReLU hides what lies below.
        counts: histogram of a sample between `low` and `high`.
    """

    low: float
    high: float
    floor: float
    counts: NDArray[np.int64]

    def estimate(self, estimator: Estimator, *, symmetric: bool = False) -> Range:
        """Return (low, high), zero included; in the middle, if symmetric."""
        low, high = min(self.floor, 0.0), max(self.high, 0.0)
        if symmetric:
            low, high = min(low, -high), max(high, -low)
        if estimator == "minmax":
            return low, high
        return self._least_error(low, high, symmetric=symmetric)

    def _least_error(self, low: float, high: float, *, symmetric: bool) -> Range:
        width = (self.high - self.low) / len(self.counts)
        values = np.maximum(self.low + (np.arange(len(self.counts)) + 0.5) * width, self.floor)
        best, least = (low, high), np.inf
        for a in _SHRINKS if low < 0 else (1.0,):
            for b in (a,) if symmetric else _SHRINKS if high > 0 else (1.0,):
                step = (b * high - a * low) / (254 if symmetric else 255)
                outside = np.maximum(a * low - values, 0) + np.maximum(values - b * high, 0)
                error = float(np.where(outside > 0, outside**2, step**2 / 12) @ self.counts)
                if error < least:
                    best, least = (float(a * low), float(b * high)), error
        return best


def summarize(
    extremes: Mapping[str, Sequence[Range]],
    samples: Mapping[str, Sequence[NDArray[np.float32]]],
    floors_of: Callable[[Mapping[str, float], Mapping[str, float]], Mapping[str, float]],
) -> dict[str, Observed]:
    """Return what was seen of each tensor.

    Args:
        extremes: its least and greatest value, on every image.
        samples: of its values.
        floors_of: tells from the least and greatest values on all images which tensors' ranges
            begin later, and where.
    """
    lows = {name: min(low for low, _ in pairs) for name, pairs in extremes.items()}
    highs = {name: max(high for _, high in pairs) for name, pairs in extremes.items()}
    floors = floors_of(lows, highs)
    return {
        name: Observed(
            low=lows[name],
            high=highs[name],
            floor=floors.get(name, lows[name]),
            counts=np.histogram(np.concatenate(values), _BINS, (lows[name], highs[name]))[0],
        )
        for name, values in samples.items()
    }
