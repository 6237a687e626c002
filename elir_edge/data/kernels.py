"""Random blur kernels of the Real-ESRGAN degradation (Wang et al., 2021, sections 3.1 and 3.3).

Kernels are float64 arrays (size, size) of odd size that sum to 1; only the sinc has negative ones.
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from elir_edge.errors import UsageError

Kernel = NDArray[np.float64]
Profile = Callable[[Kernel, float], Kernel]


def gaussian_profile(distance: Kernel, beta: float) -> Kernel:
    """Return exp(-d^beta / 2) for squared Mahalanobis distances d; beta = 1 gives the Gaussian."""
    return np.asarray(np.exp(-0.5 * distance**beta))


def plateau_profile(distance: Kernel, beta: float) -> Kernel:
    """Return 1 / (1 + d^beta) for squared Mahalanobis distances d."""
    return np.asarray(1 / (1 + distance**beta))


def bivariate_kernel(
    size: int, sigma_x: float, sigma_y: float, angle: float, beta: float, profile: Profile
) -> Kernel:
    """Return a kernel with elliptic level lines.

    Args:
        size: side of the kernel, odd.
        sigma_x: standard deviation along the first axis of the ellipse, in pixels.
        sigma_y: standard deviation along the second axis, in pixels.
        angle: angle between the first axis and the image's x axis, in radians.
        beta: shape exponent of the profile.
        profile: maps squared Mahalanobis distance and beta to the weight.
    """
    y, x = _grid(size)
    along = np.cos(angle) * x + np.sin(angle) * y
    across = np.cos(angle) * y - np.sin(angle) * x
    weights = profile((along / sigma_x) ** 2 + (across / sigma_y) ** 2, beta)
    return np.asarray(weights / weights.sum())


def sinc_kernel(size: int, cutoff: float) -> Kernel:
    """Return the circular low-pass filter w J_1(w r) / (2 pi r), which imitates ringing artefacts.

    Args:
        size: side of the kernel, odd.
        cutoff: w, in radians per pixel, in (0, pi].
    """
    y, x = _grid(size)
    radius = np.sqrt(x**2 + y**2)
    centre = size // 2
    radius[centre, centre] = 1  # avoids 0 / 0; the centre's weight is the limit w^2 / (4 pi)
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
