"""Operations against other implementations and numbers worked by hand."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from elir_edge.data.datasets import centre_crop, to_float
from elir_edge.data.operations import (
    add_noise,
    filter2d,
    gaussian_blur,
    interpolate,
    jpeg,
    luma,
    mean_laplacian,
    resize,
    to_uint8,
)


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


def test_eight_bits_are_rounded() -> None:
    image = np.array([[[0, 1, 0.5]], [[-0.1, 1.1, 100.4 / 255]], [[100.6 / 255] * 3]], np.float32)
    assert to_uint8(image).tolist() == [[[0, 255, 128]], [[0, 255, 100]], [[101, 101, 101]]]
    assert to_uint8(image).dtype == np.uint8


def test_photos_in_eight_bits_span_zero_to_one() -> None:
    assert to_float(np.array([[[0, 51, 255]]], np.uint8)).tolist() == [
        [[0.0, pytest.approx(0.2, abs=1e-7), 1.0]]
    ]


def test_jpeg_loses_more_at_lower_quality(photo: NDArray[np.uint8]) -> None:
    image = to_float(photo[:64, :80])
    errors = [float(np.abs(jpeg(image, quality) - image).mean()) for quality in (10, 50, 100)]
    assert errors[0] > 1.5 * errors[1] > 3 * errors[2]
    assert errors[2] < 0.01
    assert jpeg(image, 50).dtype == np.float32


def test_a_blur_has_its_deviation() -> None:
    """A point becomes a bell whose variance along each axis is sigma's square."""
    point = np.zeros((41, 41, 3), np.float32)
    point[20, 20] = 1
    bell = gaussian_blur(point, 2.0, kernel_size=21)[..., 0].astype(np.float64)
    offsets = np.arange(41) - 20
    for profile in (bell.sum(axis=0), bell.sum(axis=1)):
        assert profile.sum() == pytest.approx(1, abs=1e-5)
        assert (profile * offsets**2).sum() == pytest.approx(4, rel=0.01)
    # Cut off at the kernel's edge.
    wide = gaussian_blur(point, 6.0, kernel_size=21)[..., 0]
    assert np.abs(wide[:, :10]).max() < 1e-6 < 1e-4 < wide[20, 10]


def test_the_laplacian_by_hand() -> None:
    """A single point of 0.5: fourfold at its place and once at four others, of 9 inner pixels."""
    image = np.zeros((5, 5, 1), np.float32)
    image[2, 2] = 0.5
    assert mean_laplacian(image) == pytest.approx((4 * 0.5 + 4 * 0.5) / 9, abs=1e-9)
    ramp = np.arange(25, dtype=np.float32).reshape(5, 5, 1)
    assert mean_laplacian(ramp) == 0


def test_noise_is_cut_off_at_black_and_white() -> None:
    rng = np.random.default_rng(0)
    noisy = add_noise(np.full((100, 100, 3), 0.5, np.float32), 89.6, rng)
    assert noisy.min() == 0
    assert noisy.max() == 1
    assert noisy.dtype == np.float32


def test_resizing_keeps_constants_and_the_range() -> None:
    image = np.full((8, 12, 3), 0.3, np.float32)
    for method in ("bicubic", "bilinear", "nearest"):
        resized = resize(image, 5, 30, method)
        assert resized.shape == (5, 30, 3)
        assert np.abs(resized - np.float32(0.3)).max() <= 1e-6
    edge = np.zeros((8, 8, 3), np.float32)
    edge[:, 4:] = 1
    overshooting = resize(edge, 32, 32, "bicubic")
    assert overshooting.min() >= 0
    assert overshooting.max() <= 1
