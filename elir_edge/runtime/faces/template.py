"""Where the five points of an aligned face lie, and what of it is pasted back."""

import numpy as np
from numpy.typing import NDArray

SIDE = 512
"""Of an aligned face, in pixels."""

TEMPLATE: NDArray[np.float64] = np.array(
    [
        [192.98138, 239.94708],
        [318.90277, 240.1936],
        [256.63416, 314.01935],
        [201.26117, 371.41043],
        [313.08905, 371.15118],
    ]
)
"""(5, 2): x and y of the eyes, the nose and the corners of the mouth; the mean of FFHQ's faces, as
facexlib and the restorers built on it (GFPGAN, CodeFormer) have it."""

_CENTRE = (256.0, 275.0)
_AXES = (215.0, 245.0)
_SOLID = 0.75
"""Share of the ellipse's radius within which the mask is 1."""


def mask_at(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return how much of an aligned face is pasted back at points of it: 0 to 1.

    An ellipse about the face, hair and chin with it, fading out smoothly: at its rim both value and
    slope are 0, and a neighbour's face in the corners stays as it is.
    """
    radius = np.hypot((x - _CENTRE[0]) / _AXES[0], (y - _CENTRE[1]) / _AXES[1])
    fade = np.clip((1 - radius) / (1 - _SOLID), 0, 1)
    mask: NDArray[np.float32] = (fade * fade * (3 - 2 * fade)).astype(np.float32)
    return mask
