"""Blur kernels against moments and filters known in closed form."""

import numpy as np
import pytest
from scipy import special

from elir_edge.data.kernels import (
    Kernel,
    bivariate_kernel,
    gaussian_profile,
    plateau_profile,
    sinc_kernel,
)
from elir_edge.errors import UsageError


def _covariance(kernel: Kernel) -> Kernel:
    half = kernel.shape[0] // 2
    y, x = np.meshgrid(*[np.arange(-half, half + 1.0)] * 2, indexing="ij")
    return np.array([[(kernel * a * b).sum() for a in (x, y)] for b in (x, y)])


@pytest.mark.parametrize("angle", [0.0, 0.4, -1.2])
def test_gaussian_has_its_covariance(angle: float) -> None:
    kernel = bivariate_kernel(41, 3.0, 1.5, angle, 1.0, gaussian_profile)
    c, s = np.cos(angle), np.sin(angle)
    rotation = np.array([[c, -s], [s, c]])
    expected = rotation @ np.diag([9.0, 2.25]) @ rotation.T
    assert kernel.sum() == pytest.approx(1, abs=1e-12)
    # Sampled and cut at 6.7 sigma: 1e-6 is what is left.
    np.testing.assert_allclose(_covariance(kernel), expected, atol=1e-6)
    turned = bivariate_kernel(41, 3.0, 1.5, angle + 0.1, 1.0, gaussian_profile)
    assert np.abs(_covariance(turned) - expected).max() > 0.1


def test_profiles_by_hand() -> None:
    distance = np.array([[0.0, 1.0, 4.0]])
    np.testing.assert_allclose(gaussian_profile(distance, 0.5), np.exp([[0.0, -0.5, -1.0]]))
    np.testing.assert_allclose(plateau_profile(distance, 2.0), [[1.0, 1 / 2, 1 / 17]])


def test_sinc_is_the_low_pass_filter() -> None:
    cutoff, size = 1.2, 201
    response = np.abs(np.fft.fft2(sinc_kernel(size, cutoff)))
    frequency = 2 * np.pi * np.fft.fftfreq(size)
    radius = np.hypot(*np.meshgrid(frequency, frequency))
    # A cut-off filter overshoots by a few per cent at its edge; 0.15 rad away it has settled.
    assert np.abs(response[radius < cutoff - 0.15] - 1).max() < 0.06
    assert response[(radius > cutoff + 0.15) & (radius < np.pi)].max() < 0.06
    assert response[(radius > cutoff - 0.3) & (radius < cutoff - 0.15)].min() > 0.9


def test_sinc_weights() -> None:
    kernel, cutoff = sinc_kernel(7, 2.0), 2.0
    ratio = kernel[3, 4] / kernel[3, 3]
    expected = (cutoff * special.j1(cutoff) / (2 * np.pi)) / (cutoff**2 / (4 * np.pi))
    assert ratio == pytest.approx(expected, rel=1e-9)
    assert kernel.sum() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("size", [0, 6])
def test_even_sizes_are_refused(size: int) -> None:
    with pytest.raises(UsageError, match="odd size"):
        sinc_kernel(size, 1.0)
