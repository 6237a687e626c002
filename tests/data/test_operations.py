"""Operations against other implementations and numbers worked by hand."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from elir_edge.data.datasets import centre_crop, to_float
from elir_edge.data.operations import filter2d, interpolate, luma


@pytest.mark.parametrize("shape", [(1, 1), (7, 7), (21, 5)])
def test_filter_correlates(shape: tuple[int, int], photo: NDArray[np.uint8]) -> None:
    image = to_float(centre_crop(photo, 64))[:50]
    kernel = np.random.default_rng(0).random(shape)
    kernel /= kernel.sum()
    expected = ndimage.correlate(image.astype(np.float64), kernel[..., None], mode="reflect")
    # float32 FFT of values in [0, 1].
    np.testing.assert_allclose(filter2d(image, kernel), expected, atol=2e-6)
    if shape != (1, 1):
        turned = ndimage.convolve(image.astype(np.float64), kernel[..., None], mode="reflect")
        assert np.abs(filter2d(image, kernel) - turned).max() > 1e-3


def test_interpolate_skips_pixels_and_area_averages() -> None:
    row = np.array([0, 0.2, 0.4, 0.8, 0.1, 0.3, 0.5, 0.7], np.float32)
    image = np.repeat(row[None, :, None], 8, axis=0)
    # To a quarter: output pixel 0 lies between input pixels 1 and 2.
    np.testing.assert_allclose(interpolate(image, 8, 2, "bilinear")[0, :, 0], [0.3, 0.4], atol=1e-6)
    np.testing.assert_allclose(interpolate(image, 8, 2, "area")[0, :, 0], [0.35, 0.4], atol=1e-6)
    assert interpolate(image, 8, 8, "bicubic") is image


def test_luma_of_primaries() -> None:
    primaries = np.eye(3, dtype=np.float32)[None]
    np.testing.assert_allclose(luma(primaries)[0, :, 0], [0.299, 0.587, 0.114], atol=1e-7)
