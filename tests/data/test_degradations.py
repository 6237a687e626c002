"""Degradations: their statistics, ranges and purity."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from elir_edge.data.datasets import centre_crop, to_float
from elir_edge.data.degradations import degrade, inpainting, low_resolution
from elir_edge.data.operations import add_noise, gaussian_blur, jpeg, resize
from elir_edge.errors import UsageError
from elir_edge.metrics import psnr
from elir_edge.tasks import TASKS

GRAY = np.full((256, 256, 3), 0.5, np.float32)


@pytest.mark.parametrize("task", TASKS)
def test_same_size_range_and_pure(task: str, photo: NDArray[np.uint8]) -> None:
    clean = to_float(centre_crop(photo, 128))
    before = clean.copy()
    first, again, other = (degrade(task, clean, np.random.default_rng(s)) for s in (0, 0, 1))
    assert first.shape == clean.shape
    assert first.dtype == np.float32
    assert first.min() >= 0
    assert first.max() <= 1
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert np.array_equal(clean, before)


def test_noise_has_its_deviation() -> None:
    # 196,608 draws: the sample's deviation is within 1 %; at 12.8/255 nothing is clipped.
    noise = add_noise(GRAY, 12.8, np.random.default_rng(0)) - GRAY
    assert noise.std() * 255 == pytest.approx(12.8, rel=0.01)
    assert abs(noise.mean()) * 255 < 0.2
    twice = add_noise(GRAY, 25.6, np.random.default_rng(0)) - GRAY
    assert twice.std() * 255 != pytest.approx(12.8, rel=0.01)


def test_denoising_starts_near_eleven_db(photo: NDArray[np.uint8]) -> None:
    clean = to_float(centre_crop(photo, 256))
    degraded = degrade("denoising", clean, np.random.default_rng(0))
    assert psnr(clean, degraded) == pytest.approx(11, abs=1.5)


def test_inpainting_keeps_a_tenth_of_the_pixels() -> None:
    degraded = inpainting(np.ones((256, 256, 3), np.float32), np.random.default_rng(0))
    # Noise of 25.6 cannot carry 0 or 1 across the middle (five sigma); 65,536 pixels: +- 0.6 %.
    kept = degraded > 0.5
    assert kept.mean() == pytest.approx(0.1, abs=0.006)
    assert np.array_equal(kept[..., 0], kept[..., 1])
    assert np.array_equal(kept[..., 0], kept[..., 2])


@pytest.mark.parametrize(("task", "side"), [("sr", 16), ("bsr", 32), ("denoising", 128)])
def test_low_resolution_sizes(task: str, side: int, photo: NDArray[np.uint8]) -> None:
    clean = to_float(centre_crop(photo, 128))
    small = low_resolution(task, clean, np.random.default_rng(0))
    assert small.shape == (side, side, 3)


def test_sr_is_nearest_of_the_small_image(photo: NDArray[np.uint8]) -> None:
    clean = to_float(centre_crop(photo, 128))
    small = low_resolution("sr", clean, np.random.default_rng(0))
    enlarged = small.repeat(8, axis=0).repeat(8, axis=1)
    assert np.array_equal(degrade("sr", clean, np.random.default_rng(0)), enlarged)


@pytest.mark.parametrize("sigma", [0.5, 2.0, 5.0])
def test_blur_is_the_gaussian(sigma: float, photo: NDArray[np.uint8]) -> None:
    image = to_float(centre_crop(photo, 64))
    expected = ndimage.gaussian_filter(
        image.astype(np.float64), (sigma, sigma, 0), mode="reflect", truncate=20 / sigma
    )
    assert np.abs(gaussian_blur(image, sigma, kernel_size=41) - expected).max() <= 1e-6
    wrong = gaussian_blur(image, sigma * 1.1, kernel_size=41)
    assert np.abs(wrong - expected).max() > 1e-4


def test_jpeg_gets_worse_with_less_quality(photo: NDArray[np.uint8]) -> None:
    image = to_float(centre_crop(photo, 128))
    scores = [psnr(image, jpeg(image, quality)) for quality in (95, 60, 20)]
    assert scores[0] > scores[1] > scores[2] > 20


def test_resize_keeps_constants_and_identity() -> None:
    assert resize(GRAY, 256, 256, "bicubic") is GRAY
    for method in ("nearest", "bilinear", "bicubic", "area"):
        assert np.abs(resize(GRAY, 100, 37, method) - 0.5).max() <= 1e-6


def test_unknown_task() -> None:
    with pytest.raises(UsageError, match="unknown task"):
        degrade("deblurring", GRAY, np.random.default_rng(0))
