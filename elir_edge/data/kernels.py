"""Random blur kernels of the Real-ESRGAN degradation (Wang et al., 2021, sections 3.1 and 3.3).

Kernels are float64 arrays (size, size), odd size, non-negative except for the sinc, and sum to 1.
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from elir_edge.errors import UsageError

Kernel = NDArray[np.float64]
Profile = Callable[[Kernel, float], Kernel]


def gaussian_profile(distance: Kernel, beta: float) -> Kernel:
    """Return exp(-d^beta / 2) for squared Mahalanobis distances d; beta = 1 is the Gaussian."""
    return np.asarray(np.exp(-0.5 * distance**beta))


def plateau_profile(distance: Kernel, beta: float) -> Kernel:
    """Return 1 / (1 + d^beta) for squared Mahalanobis distances d."""
    return np.asarray(1 / (1 + distance**beta))


def bivariate_kernel(
    size: int, sigma_x: float, sigma_y: float, angle: float, beta: float, profile: Profile
) -> Kernel:
    """Return a kernel of elliptic level lines.

    Args:
        size: side, odd.
        sigma_x: standard deviation along the first axis of the ellipse, in pixels.
        sigma_y: along the second.
        angle: of the first axis against the image's x axis, in radians.
        beta: shape exponent of the profile.
        profile: weight as a function of the squared Mahalanobis distance.
    """
    y, x = _grid(size)
    along = np.cos(angle) * x + np.sin(angle) * y
    across = np.cos(angle) * y - np.sin(angle) * x
    weights = profile((along / sigma_x) ** 2 + (across / sigma_y) ** 2, beta)
    return np.asarray(weights / weights.sum())


def sinc_kernel(size: int, cutoff: float) -> Kernel:
    """Return the circular low-pass filter w J_1(w r) / (2 pi r), which rings like a codec does.

    Args:
        size: side, odd.
        cutoff: w, in radians per pixel, in (0, pi].
    """
    y, x = _grid(size)
    radius = np.sqrt(x**2 + y**2)
    centre = size // 2
    radius[centre, centre] = 1  # its weight is the limit w^2 / (4 pi)
    bessel = torch.special.bessel_j1(torch.from_numpy(cutoff * radius)).numpy()
    weights = cutoff * bessel / (2 * np.pi * radius)
    weights[centre, centre] = cutoff**2 / (4 * np.pi)
    return np.asarray(weights / weights.sum())


def _grid(size: int) -> tuple[Kernel, Kernel]:
    """Return y and x of each kernel cell, in pixels from the centre."""
    if size % 2 != 1 or size < 1:
        raise UsageError(f"no blur kernel of size {size}", expected="an odd size >= 1")
    axis = np.arange(size, dtype=np.float64) - size // 2
    y, x = np.meshgrid(axis, axis, indexing="ij")
    return y, x
