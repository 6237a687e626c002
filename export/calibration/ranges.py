"""The range of every activation, observed on calibration crops.

There are two estimators. `minmax` takes the extremes. `mse` moves both ends inwards, to minimize
the sum of the rounding error inside and the clipping error outside; both are estimated on a sample
of each tensor's values.

A range may be cut without loss if a ReLU follows. In relu(x + h), all values of h below -max(x)
give 0, so the range of h can start there (`floor`). Otherwise, residual branches that push channels
far below zero would spend most of their 255 levels on values that the ReLU discards.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Estimator = Literal["minmax", "mse"]
ActivationRange = tuple[float, float]

SAMPLE = 4096
"""Number of values that are sampled from each tensor and image."""
_SAMPLES_BYTES = 768 * 2**20
"""Bytes of the samples of all tensors and images; beyond them, fewer values are sampled."""
_BINS = 2048
_SHRINKS = np.linspace(1.0, 0.4, 25)


@dataclass(frozen=True, kw_only=True)
class TensorStatistics:
    """The observed values of a tensor.

    Attributes:
        low: the minimum.
        high: the maximum.
        floor: the smallest value that affects the result: `low`, unless a ReLU discards values
            up to a higher one.
        counts: histogram (bins,) of a sample, with equal bins between `low` and `high`.
    """

    low: float
    high: float
    floor: float
    counts: NDArray[np.int64]

    def estimate(self, estimator: Estimator, *, symmetric: bool = False) -> ActivationRange:
        """Return the range (low, high), which contains zero; if symmetric, low is -high."""
        low, high = min(self.floor, 0.0), max(self.high, 0.0)
        if symmetric:
            low, high = min(low, -high), max(high, -low)
        if estimator == "minmax":
            return low, high
        return self._least_error(low, high, symmetric=symmetric)

    def _least_error(self, low: float, high: float, *, symmetric: bool) -> ActivationRange:
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


def sample_size(tensors: int, images: int) -> int:
    """Return how many values are sampled at most from each tensor on each image.

    Samples are kept until the extremes over all images are known. `SAMPLE` values of each of the
    871 tensors of a model of published size, on 128 crops, would be 1.8 GB.
    """
    return max(1, min(SAMPLE, _SAMPLES_BYTES // (4 * tensors * images)))


def sample_stride(size: int, count: int) -> int:
    """Return the distance between sampled values of a tensor, so that at most `count` are taken.

    It is odd, so that samples do not repeat the same columns of rows of 2^n pixels.
    """
    return -(-size // count) | 1


def summarize(
    extremes: Mapping[str, Sequence[ActivationRange]],
    samples: Mapping[str, Sequence[NDArray[np.float32]]],
    floors_of: Callable[[Mapping[str, float], Mapping[str, float]], Mapping[str, float]],
) -> dict[str, TensorStatistics]:
    """Return the observed values of each tensor, by name.

    Args:
        extremes: minimum and maximum of each tensor, for every image.
        samples: samples of each tensor's values (n,), for every image.
        floors_of: returns the floors that differ from the minimum, by tensor, given the minima and
            the maxima over all images.
    """
    lows = {name: min(low for low, _ in pairs) for name, pairs in extremes.items()}
    highs = {name: max(high for _, high in pairs) for name, pairs in extremes.items()}
    floors = floors_of(lows, highs)
    return {
        name: TensorStatistics(
            low=lows[name],
            high=highs[name],
            floor=floors.get(name, lows[name]),
            counts=np.histogram(np.concatenate(values), _BINS, (lows[name], highs[name]))[0],
        )
        for name, values in samples.items()
    }
