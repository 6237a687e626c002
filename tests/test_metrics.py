"""PSNR and SSIM by hand."""

import math
import sys
from collections.abc import Callable

import numpy as np
import pytest

from elir_edge.errors import ElirError, ParityError
from elir_edge.metrics import mean_square_error, psnr, rounded_luma, ssim_rgb, ssim_y

A = np.zeros((2, 2, 3), np.float32)


def test_by_hand() -> None:
    assert mean_square_error(A, A + np.float32(0.5)) == 0.25
    assert psnr(A, A + np.float32(0.1)) == pytest.approx(20, abs=1e-5)
    assert psnr(A, A) == math.inf


def test_nan_stays_nan() -> None:
    assert math.isnan(psnr(A, A * np.float32("nan")))


def test_other_shapes_are_refused() -> None:
    with pytest.raises(ParityError, match="shapes"):
        psnr(A, A[:1])


def _noise(seed: int, height: int = 24, width: int = 20) -> np.ndarray:
    return np.random.default_rng(seed).random((height, width, 3), dtype=np.float32)


PYIQA_SSIM = {0: 0.8191647102124561, 1: 0.8199451797400981}
"""By seed, of `_pair`: `pyiqa.create_metric("ssim")` of pyiqa 0.1.16 on torch 2.14.1, CPU."""
PYIQA_TOLERANCE = 1e-5


def _pair(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return an image of noise and a noisy copy, 48 x 40."""
    rng = np.random.default_rng(seed)
    clean = rng.random((48, 40, 3), dtype=np.float32)
    noise = np.float32(0.2) * rng.standard_normal(clean.shape, dtype=np.float32)
    return np.clip(clean + noise, 0, 1), clean


@pytest.mark.parametrize("seed", PYIQA_SSIM)
def test_ssim_on_y_is_pyiqas(seed: int) -> None:
    noisy, clean = _pair(seed)
    assert ssim_y(noisy, clean) == pytest.approx(PYIQA_SSIM[seed], abs=PYIQA_TOLERANCE)
    # The twins: one pixel changed, and the other channels' SSIM.
    corrupted = noisy.copy()
    corrupted[20, 20] = 1 - corrupted[20, 20]
    assert ssim_y(corrupted, clean) != pytest.approx(PYIQA_SSIM[seed], abs=PYIQA_TOLERANCE)
    assert ssim_rgb(noisy, clean) != pytest.approx(PYIQA_SSIM[seed], abs=PYIQA_TOLERANCE)


def test_luma_by_hand() -> None:
    """0.299 R + 0.587 G + 0.114 B from 0 to 255, rounded."""
    image = np.array([[[1, 1, 1], [1, 0, 0], [0, 1, 0], [0, 0, 1], [0.5, 0.5, 0.5]]], np.float32)
    # 76.245, 149.685 and 29.07; a half goes to the even number: 127.5 to 128.
    assert rounded_luma(image).tolist() == [[255, 76, 150, 29, 128]]


def test_a_window_that_is_turned_round_counts_nothing_on_y() -> None:
    """A negative covariance: 0 on Y, as in pyiqa; below 0 in RGB, as Wang et al. define it."""
    image = _noise(0)
    assert ssim_y(image, 1 - image) == 0
    assert ssim_rgb(image, 1 - image) < -0.1


def test_ssim_of_equal_images_is_one() -> None:
    for ssim in (ssim_y, ssim_rgb):
        assert ssim(_noise(0), _noise(0)) == 1
        assert ssim(_noise(0), _noise(1)) < 0.5


def test_ssim_of_constants_in_closed_form() -> None:
    """Without variance only the luminance term is left: (2ab + C1) / (a^2 + b^2 + C1)."""
    a, b = np.full((16, 16, 3), 0.25, np.float32), np.full((16, 16, 3), 0.75, np.float32)
    c_1 = 0.01**2
    expected = (2 * 0.25 * 0.75 + c_1) / (0.25**2 + 0.75**2 + c_1)
    assert ssim_rgb(a, b) == pytest.approx(expected, abs=1e-12)


def test_ssim_of_one_window_by_hand() -> None:
    """11 x 11 pixels hold one window: weighted means, variances and covariance of each channel."""
    a, b = _noise(0, 11, 11).astype(np.float64), _noise(1, 11, 11).astype(np.float64)
    profile = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
    weights = np.outer(profile, profile)[..., None] / profile.sum() ** 2
    mean_a, mean_b = ((weights * image).sum((0, 1)) for image in (a, b))
    var_a, var_b = (
        (weights * image**2).sum((0, 1)) - mean**2 for image, mean in ((a, mean_a), (b, mean_b))
    )
    covariance = (weights * a * b).sum((0, 1)) - mean_a * mean_b
    c_1, c_2 = 0.01**2, 0.03**2
    luminance = (2 * mean_a * mean_b + c_1) / (mean_a**2 + mean_b**2 + c_1)
    expected = luminance * (2 * covariance + c_2) / (var_a + var_b + c_2)
    assert ssim_rgb(_noise(0, 11, 11), _noise(1, 11, 11)) == pytest.approx(
        expected.mean(), abs=1e-12
    )


@pytest.mark.parametrize("ssim", [ssim_y, ssim_rgb])
def test_ssim_refuses(ssim: Callable[..., float]) -> None:
    with pytest.raises(ParityError, match="shapes"):
        ssim(_noise(0), _noise(0)[:-1])
    with pytest.raises(ParityError, match="got 20 x 10; expected at least 11"):
        ssim(_noise(0, 10), _noise(0, 10))
    assert math.isnan(ssim(_noise(0), _noise(0) * np.float32("nan")))


@pytest.mark.parametrize("ssim", [ssim_y, ssim_rgb])
def test_ssim_says_what_it_needs(
    ssim: Callable[..., float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "skimage.metrics", None)
    with pytest.raises(ElirError, match=r"SSIM needs skimage.*`evaluate` extra"):
        ssim(_noise(0), _noise(0))
