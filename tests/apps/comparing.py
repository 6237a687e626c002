"""How near another implementation's pixels have to be to Python's."""

import numpy as np
from numpy.typing import NDArray

MAX_STEP = 1
"""Largest difference, of 255: a value on the edge between two."""
MAX_SHARE = 0.001
"""Of values that may differ at all: other compilers order sums otherwise."""


def same_pixels(got: NDArray[np.uint8], expected: NDArray[np.uint8]) -> None:
    """Require equal images but for a rounding here and there.

    Raises:
        AssertionError: another shape, a larger step, or too many.
    """
    assert got.shape == expected.shape
    steps = np.abs(got.astype(int) - expected.astype(int))
    assert steps.max() <= MAX_STEP, f"differs by {steps.max()} of 255"
    share = float((steps > 0).mean())
    assert share <= MAX_SHARE, f"{share:.2%} of the values differ"
