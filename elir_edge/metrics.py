"""Image metrics, on float images in [0, 1]."""

import math

import numpy as np
from numpy.typing import NDArray

from elir_edge.errors import ParityError


def mean_square_error(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Return the mean square difference, accumulated in float64.

    Raises:
        ParityError: the shapes differ.
    """
    if a.shape != b.shape:
        raise ParityError("arrays of different shapes compared", got=f"{a.shape} and {b.shape}")
    return float(np.mean(np.square(a.astype(np.float64) - b.astype(np.float64))))


def psnr(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Return the peak signal-to-noise ratio in dB for a peak of 1; inf for equal, nan for NaN."""
    error = mean_square_error(a, b)
    if math.isnan(error):
        return math.nan
    return math.inf if error == 0 else -10 * math.log10(error)
