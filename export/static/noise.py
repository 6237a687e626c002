"""The noise of smaller images."""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

NoiseT = TypeVar("NoiseT", Tensor, NDArray[np.float32])


def corner(noise: NoiseT, side: int, size: int) -> NoiseT:
    """Return the corner of a noise that is the noise of smaller images: a view of it.

    Args:
        noise: (B, C, h, h), for square images.
        side: of the smaller images, pixels.
        size: of the images that the noise is for, pixels.
    """
    extent = noise.shape[-1] * side // size
    return noise[..., :extent, :extent]
