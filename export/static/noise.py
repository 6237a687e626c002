"""Noise for smaller images."""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

NoiseT = TypeVar("NoiseT", Tensor, NDArray[np.float32])


def corner(noise: NoiseT, side: int, size: int) -> NoiseT:
    """Return the corner of a noise tensor that serves smaller images, as a view.

    Args:
        noise: noise for square images, (B, C, h, h).
        side: side of the smaller images, in pixels.
        size: side of the images that `noise` is for, in pixels.

    Returns:
        (B, C, h * side // size, h * side // size).
    """
    extent = noise.shape[-1] * side // size
    return noise[..., :extent, :extent]
