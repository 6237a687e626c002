"""The x4 blind degradation: shares, strengths, statistics of its noise, purity."""

import dataclasses

import numpy as np
import pytest
from numpy.typing import NDArray

from elir_edge.data import real_esrgan
from elir_edge.data.datasets import centre_crop, to_float
from elir_edge.data.operations import FloatImage, resize
from elir_edge.data.real_esrgan import (
    RESSHIFT_TEST,
    TRAINING,
    RealEsrganSettings,
    add_random_noise,
    degrade_x4,
    draw_blur,
    poisson_noise,
)
from elir_edge.errors import ConfigError
from elir_edge.metrics import psnr

DRAWS = 2000
FOUR_SIGMA = 4 * 0.5 / np.sqrt(DRAWS)
"""At most this far is a share from its probability, in all but 1 of 16,000 cases."""


def _share(hits: list[bool]) -> float:
    return float(np.mean(hits))


def test_kernel_shares() -> None:
    rng = np.random.default_rng(0)
    kernels = [draw_blur(rng, TRAINING) for _ in range(DRAWS)]
    assert all(abs(k.sum() - 1) < 1e-9 for k in kernels)
    assert _share([k.min() < -1e-9 for k in kernels]) == pytest.approx(0.1, abs=FOUR_SIGMA)
    # Symmetric under transposition: sinc, and the isotropic ones (0.45 + 0.12 + 0.12 of the rest).
    symmetric = _share([bool(np.allclose(k, k.T, atol=1e-9)) for k in kernels])
    assert symmetric == pytest.approx(0.1 + 0.9 * 0.69, abs=FOUR_SIGMA)
    sizes = np.array([k.shape[0] for k in kernels])
    assert set(sizes) == {7, 9, 11, 13, 15, 17, 19, 21}
    assert _share(list(sizes == 7)) == pytest.approx(1 / 8, abs=FOUR_SIGMA)


def test_other_shares_give_other_kernels() -> None:
    settings = dataclasses.replace(TRAINING, sinc_share=1.0)
    rng = np.random.default_rng(0)
    assert all(draw_blur(rng, settings).min() < 0 for _ in range(20))


def test_gray_noise_share() -> None:
    rng, image = np.random.default_rng(0), np.full((8, 8, 3), 0.5, np.float32)
    added = [add_random_noise(image, rng, TRAINING) - image for _ in range(DRAWS)]
    gray = [bool(np.ptp(noise, axis=2).max() < 1e-7) for noise in added]
    assert _share(gray) == pytest.approx(0.4, abs=FOUR_SIGMA)


@pytest.mark.parametrize("sigma", [1.0, 20.0])
def test_gaussian_noise_has_its_deviation(sigma: float) -> None:
    settings = dataclasses.replace(TRAINING, gaussian_share=1.0, gaussian_range=(sigma, sigma))
    image = np.full((128, 128, 3), 0.5, np.float32)
    noise = add_random_noise(image, np.random.default_rng(0), settings) - image
    # Gray or not, at least 16,384 draws: 2 % is four sigma.
    assert noise.std() * 255 == pytest.approx(sigma, rel=0.02)
    assert noise.std() * 255 != pytest.approx(sigma * 1.1, rel=0.02)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_noise_stays_within_the_range(share: float) -> None:
    settings = dataclasses.replace(TRAINING, gaussian_share=share)
    image = np.zeros((64, 64, 3), np.float32)
    image[:, 32:] = 1
    image[:, :8] = 0.01
    noisy = add_random_noise(image, np.random.default_rng(0), settings)
    assert noisy.min() == 0
    assert noisy.max() == 1


def test_poisson_noise_has_the_variance_of_its_photons() -> None:
    # Two levels: 2 photons at full scale. Var = value / photons.
    image = np.full((256, 256, 3), 51 / 255, np.float32)
    image[:, :128] = 204 / 255
    noise = poisson_noise(image, np.random.default_rng(0), gray=False)
    assert noise.shape == image.shape
    for side, value in ((noise[:, :128], 0.8), (noise[:, 128:], 0.2)):
        assert side.var() == pytest.approx(value / 2, rel=0.03)  # 98,304 draws
        assert abs(side.mean()) < 0.01
    assert poisson_noise(image, np.random.default_rng(0), gray=True).shape == (256, 256, 1)


def test_size_range_grid_and_purity(photo: NDArray[np.uint8]) -> None:
    clean = to_float(centre_crop(photo, 128))[:120, :100]
    before = clean.copy()
    for seed in range(20):
        small = degrade_x4(clean, np.random.default_rng(seed))
        again = degrade_x4(clean, np.random.default_rng(seed))
        assert small.shape == (30, 25, 3)
        assert small.dtype == np.float32
        assert np.array_equal(small, again)
        np.testing.assert_allclose(small * 255, np.rint(small * 255), atol=1e-4)
        assert 0 <= small.min() <= small.max() <= 1
    assert np.array_equal(clean, before)


def test_tiny_images_survive() -> None:
    assert degrade_x4(np.zeros((1, 3, 3), np.float32), np.random.default_rng(0)).shape == (1, 1, 3)


def test_the_test_set_is_milder(photo: NDArray[np.uint8]) -> None:
    clean = to_float(centre_crop(photo, 128))

    def score(settings: RealEsrganSettings) -> float:
        small = [degrade_x4(clean, np.random.default_rng(seed), settings) for seed in range(12)]
        return float(np.mean([psnr(clean, resize(s, 128, 128, "bicubic")) for s in small]))

    assert score(RESSHIFT_TEST) > score(TRAINING) + 1


def test_second_compressions_have_a_range_of_their_own(
    photo: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    """ResShift's test set: quality 70 to 95, then 80 to 100; its training set: 30 to 95 twice."""
    seen: list[int] = []

    def record(image: FloatImage, quality: int) -> FloatImage:
        seen.append(quality)
        return image

    monkeypatch.setattr(real_esrgan, "jpeg", record)
    clean = to_float(centre_crop(photo, 32))
    for settings, ranges in ((RESSHIFT_TEST, ((70, 95), (80, 100))), (TRAINING, ((30, 95),) * 2)):
        seen.clear()
        for seed in range(300):
            degrade_x4(clean, np.random.default_rng(seed), settings)
        for which, (low, high) in enumerate(ranges):
            # 300 draws from at most 66 values miss either end's first 3 in 1 of 850,000 cases.
            drawn = seen[which::2]
            assert low <= min(drawn) <= low + 2
            assert high - 2 <= max(drawn) <= high


def test_the_first_resize_has_its_shares_and_range(monkeypatch: pytest.MonkeyPatch) -> None:
    """Enlarged in 20 %, reduced in 70, kept in 10; factors 0.15 to 1.5, each filter alike."""
    seen: list[tuple[int, str]] = []

    def record(image: FloatImage, height: int, width: int, method: str) -> FloatImage:
        seen.append((height, method))
        return image

    monkeypatch.setattr(real_esrgan, "interpolate", record)
    rng, image = np.random.default_rng(0), np.zeros((1000, 1000, 3), np.float32)
    for _ in range(DRAWS):
        real_esrgan._random_resize(image, rng, TRAINING)
    heights = np.array([height for height, _ in seen])
    assert _share(list(heights > 1000)) == pytest.approx(0.2, abs=FOUR_SIGMA)
    assert _share(list(heights < 1000)) == pytest.approx(0.7, abs=FOUR_SIGMA)
    # 1,400 reductions and 400 enlargements: their extremes are within 2 % of the ranges' ends.
    assert 150 <= heights.min() <= 170
    assert 1490 <= heights.max() <= 1500
    reduced, enlarged = heights[heights < 1000], heights[heights > 1000]
    assert reduced.max() >= 980
    assert enlarged.min() <= 1020
    for method in ("area", "bilinear", "bicubic"):
        assert _share([m == method for _, m in seen]) == pytest.approx(1 / 3, abs=FOUR_SIGMA)


def _strengths(
    settings: RealEsrganSettings, monkeypatch: pytest.MonkeyPatch
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the scales of Poisson and the deviations of Gaussian noise, of 255, in many draws."""
    monkeypatch.setattr(
        real_esrgan, "poisson_noise", lambda image, rng, gray: np.full(image.shape, 0.1)
    )
    rng, image = np.random.default_rng(0), np.full((32, 32, 3), 0.5, np.float32)
    added = [add_random_noise(image, rng, settings) - image for _ in range(DRAWS)]
    scales = np.array([noise.mean() / 0.1 for noise in added if np.ptp(noise) < 1e-6])
    deviations = np.array([255 * noise.std() for noise in added if np.ptp(noise) >= 1e-6])
    return scales, deviations


def test_strengths_of_resshifts_test_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """What reaches the noise and the blur: noise of 1 to 15, Poisson's of 0.05 to 0.3, ..."""
    scales, deviations = _strengths(RESSHIFT_TEST, monkeypatch)
    # A thousand draws each; a deviation is known to 7 % (1,024 values, three of its own).
    assert 0.05 - 1e-6 <= scales.min() <= 0.052
    assert 0.298 <= scales.max() <= 0.3 + 1e-6
    assert 0.93 <= deviations.min() <= 1.1
    assert 14.5 <= deviations.max() <= 16.1

    blurs: list[tuple[object, ...]] = []

    def record(*arguments: object) -> NDArray[np.float64]:
        blurs.append(arguments)
        return np.ones((1, 1))

    monkeypatch.setattr(real_esrgan, "bivariate_kernel", record)
    rng = np.random.default_rng(0)
    for _ in range(DRAWS):
        draw_blur(rng, RESSHIFT_TEST)
    sizes, sigmas, _, angles, betas = (
        np.array(each) for each in list(zip(*blurs, strict=True))[:5]
    )
    assert set(sizes) == {7, 9, 11, 13}
    assert 0.2 <= sigmas.min() <= 0.202
    assert 0.798 <= sigmas.max() <= 0.8
    assert _share(list(angles != 0)) == pytest.approx(0.4, abs=FOUR_SIGMA)
    assert set(betas) == {1.0}  # neither generalized Gaussians nor plateaus are drawn


@pytest.mark.parametrize(
    ("settings", "generalized", "plateau"),
    [(TRAINING, (0.5, 4.0), (1.0, 2.0)), (RESSHIFT_TEST, (1.0, 1.5), (1.0, 1.2))],
)
def test_exponents_of_the_kernels(
    settings: RealEsrganSettings,
    generalized: tuple[float, float],
    plateau: tuple[float, float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As they reach the kernels when only these families are drawn; ends to 1 % of the range."""
    betas: list[float] = []

    def record(size: int, x: float, y: float, angle: float, beta: float, profile: object) -> object:
        betas.append(beta)
        return np.ones((1, 1))

    monkeypatch.setattr(real_esrgan, "bivariate_kernel", record)
    rng = np.random.default_rng(0)
    for index, (low, high) in ((2, generalized), (4, plateau)):
        shares = tuple(float(i == index) for i in range(6))
        only = dataclasses.replace(settings, kernel_shares=shares, sinc_share=0.0)
        betas.clear()
        for _ in range(DRAWS):
            draw_blur(rng, only)
        assert low <= min(betas) <= low + 0.01 * (high - low)
        assert high - 0.01 * (high - low) <= max(betas) <= high


def test_kinds_and_strengths_of_the_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gaussian of 1 to 30 in half of the images, else Poisson noise of scale 0.05 to 3."""
    scales, deviations = _strengths(TRAINING, monkeypatch)
    assert len(scales) / DRAWS == pytest.approx(0.5, abs=FOUR_SIGMA)
    # A thousand draws each; a deviation is known to 7 % (1,024 values, three of its own).
    assert 0.05 - 1e-6 <= scales.min() <= 0.08
    assert 2.97 <= scales.max() <= 3 + 1e-6
    assert 0.93 <= deviations.min() <= 1.2
    assert 29 <= deviations.max() <= 32.1


def test_final_sharpening_and_the_order_of_compression(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sinc in 80 % of the images; the second JPEG comes last in half of them."""
    orders: list[str] = []
    kernels = []

    def compress(image: FloatImage, quality: int) -> FloatImage:
        orders.append("jpeg")
        return image

    def sharpen(image: FloatImage, kernel: NDArray[np.float64]) -> FloatImage:
        orders.append("filter")
        kernels.append(kernel)
        return image

    monkeypatch.setattr(real_esrgan, "jpeg", compress)
    monkeypatch.setattr(real_esrgan, "filter2d", sharpen)
    image = np.full((16, 16, 3), 0.5, np.float32)
    last = []
    for seed in range(DRAWS):
        orders.clear()
        degrade_x4(image, np.random.default_rng(seed))
        assert sorted(orders) == ["filter", "filter", "jpeg", "jpeg"]
        last.append(orders[-1] == "jpeg")
    assert _share(last) == pytest.approx(0.5, abs=FOUR_SIGMA)
    final = kernels[1::2]
    assert _share([kernel.size > 1 for kernel in final]) == pytest.approx(0.8, abs=FOUR_SIGMA)
    assert {len(kernel) for kernel in final} == {1, 7, 9, 11, 13, 15, 17, 19, 21}


@pytest.mark.parametrize(
    "fields",
    [
        {"sinc_share": 1.5},
        {"kernel_shares": (0.5, 0.5)},
        {"kernel_shares": (0.5, 0.25, 0.12, 0.03, 0.12, 0.03)},
        {"blur_sigma": (3.0, 0.2)},
        {"max_kernel_size": 8},
        {"max_kernel_size": 5},
        {"sinc_share": -0.01},
        {"gaussian_share": 1.01},
        {"gray_share": -0.01},
        {"final_sinc_share": 1.01},
        {"resize_shares": (0.2, 0.7, 0.2)},
        {"generalized_beta": (2.0, 1.0)},
        {"plateau_beta": (2.0, 1.0)},
        {"resize_range": (2.0, 1.0)},
        {"gaussian_range": (2.0, 1.0)},
        {"poisson_range": (2.0, 1.0)},
        {"jpeg_range": (95, 80)},
        {"final_jpeg_range": (95, 80)},
    ],
)
def test_impossible_settings_are_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="Real-ESRGAN"):
        dataclasses.replace(TRAINING, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "fields",
    [
        {"max_kernel_size": 7},
        {"sinc_share": 0.0, "gaussian_share": 1.0, "gray_share": 0.0, "final_sinc_share": 1.0},
        {"blur_sigma": (1.0, 1.0), "jpeg_range": (50, 50)},
    ],
)
def test_the_ends_of_what_is_possible(fields: dict[str, object]) -> None:
    settings = dataclasses.replace(TRAINING, **fields)  # type: ignore[arg-type]
    small = degrade_x4(np.full((32, 32, 3), 0.5, np.float32), np.random.default_rng(0), settings)
    assert small.shape == (8, 8, 3)


def test_the_lowest_cutoff_depends_on_the_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """From pi / 3 on for kernels below 13, from pi / 5 on for the others (Wang et al., 2021)."""
    seen: dict[int, list[float]] = {}

    def record(size: int, cutoff: float) -> NDArray[np.float64]:
        seen.setdefault(size, []).append(cutoff)
        return np.ones((1, 1))

    monkeypatch.setattr(real_esrgan, "sinc_kernel", record)
    always = dataclasses.replace(TRAINING, sinc_share=1.0)
    rng = np.random.default_rng(0)
    for _ in range(3000):
        draw_blur(rng, always)
    assert set(seen) == set(range(7, 22, 2))
    for size, cutoffs in seen.items():
        lowest = np.pi / 3 if size < 13 else np.pi / 5
        assert lowest <= min(cutoffs) < lowest + 0.05
        assert np.pi - 0.05 < max(cutoffs) <= np.pi
