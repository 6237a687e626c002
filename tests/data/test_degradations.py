"""Degradations: their statistics, ranges and purity."""

from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from elir_edge.data import degradations, real_esrgan
from elir_edge.data.datasets import centre_crop, to_float
from elir_edge.data.degradations import (
    DEGRADATIONS,
    degradation_name,
    degrade,
    get_degradation,
    inpainting,
    low_resolution,
)
from elir_edge.data.operations import FloatImage, add_noise, gaussian_blur, jpeg, resize
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


def test_noise_is_a_share_of_255() -> None:
    """The same draws at another strength are larger by their ratio; to 1e-6 of an image's range."""
    draws = np.random.default_rng(0).standard_normal(GRAY.shape, dtype=np.float32)
    noise = add_noise(GRAY, 12.75, np.random.default_rng(0)) - GRAY  # a twentieth of 255
    np.testing.assert_allclose(noise, draws / 20, atol=1e-6)


@pytest.mark.parametrize(("task", "side"), [("sr", 7), ("bsr", 3), ("sr", 8)])
def test_the_smallest_images_keep_a_pixel(task: str, side: int) -> None:
    image = np.full((side, side, 3), 0.5, np.float32)
    assert low_resolution(task, image, np.random.default_rng(0)).shape == (1, 1, 3)


def test_the_smallest_faces_keep_a_pixel(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[tuple[int, int]] = []

    def record(image: FloatImage, height: int, width: int, method: str) -> FloatImage:
        sizes.append((height, width))
        return np.full((height, width, 3), 0.5, np.float32)

    monkeypatch.setattr(degradations, "interpolate", record)
    for seed in range(40):
        degrade("bfr", np.full((2, 3, 3), 0.5, np.float32), np.random.default_rng(seed))
    reduced = sizes[::2]
    assert min(height for height, _ in reduced) == 1
    assert min(width for _, width in reduced) == 1
    assert set(sizes[1::2]) == {(2, 3)}


def test_denoising_starts_near_eleven_db(photo: NDArray[np.uint8]) -> None:
    clean = to_float(centre_crop(photo, 256))
    degraded = degrade("denoising", clean, np.random.default_rng(0))
    assert psnr(clean, degraded) == pytest.approx(11, abs=1.5)


def test_denoising_has_the_papers_noise() -> None:
    """Noise of 89.6 on gray 0.5 reaches 0 and 1 beyond 1.423 deviations: 7.74 % on each side."""
    degraded = degrade("denoising", GRAY, np.random.default_rng(0))
    # 196,608 values: one deviation of a share is 0.06 %.
    assert (degraded == 0).mean() == pytest.approx(0.0774, abs=0.0025)
    assert (degraded == 1).mean() == pytest.approx(0.0774, abs=0.0025)
    weaker = add_noise(GRAY, 86, np.random.default_rng(0))
    assert (weaker == 0).mean() != pytest.approx(0.0774, abs=0.0025)


def test_sr_has_the_papers_noise() -> None:
    small = low_resolution(
        "sr", np.full((1024, 1024, 3), 0.5, np.float32), np.random.default_rng(0)
    )
    assert small.shape == (128, 128, 3)
    # 49,152 values, none clipped: the deviation is within 1 % (three of its own).
    assert (small - 0.5).std() * 255 == pytest.approx(12.8, rel=0.01)


def test_inpainting_has_the_papers_noise_on_what_is_kept() -> None:
    degraded = inpainting(GRAY, np.random.default_rng(0))
    # Noise of 25.6 around 0 and around 0.5: five deviations apart, 0.25 lies between.
    kept = degraded[degraded.mean(axis=2) > 0.25]
    assert kept.size / GRAY.size == pytest.approx(0.1, abs=0.006)
    assert (kept - 0.5).std() * 255 == pytest.approx(25.6, rel=0.02)


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


def test_degradations_by_name() -> None:
    assert [degradation_name(task) for task in TASKS] == [
        "published",
        "paper",
        "paper",
        "paper",
        "resshift",
    ]
    assert degradation_name("bfr", "paper") == "paper"
    with pytest.raises(UsageError, match="unknown degradation 'test' of bsr; expected one of"):
        degradation_name("bsr", "test")


@pytest.mark.parametrize(
    ("task", "name"), [(task, name) for task, names in DEGRADATIONS.items() for name in names]
)
def test_every_degradation_is_pure_and_in_range(
    task: str, name: str, photo: NDArray[np.uint8]
) -> None:
    clean = to_float(centre_crop(photo, 64))
    first, again, other = (degrade(task, clean, np.random.default_rng(s), name) for s in (0, 0, 1))
    assert first.shape == clean.shape
    assert 0 <= first.min() <= first.max() <= 1
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def _heights(name: str, monkeypatch: pytest.MonkeyPatch) -> NDArray[np.float64]:
    """Return the heights that 3,000 images of 512 pixels are reduced to."""
    found: list[int] = []

    def spy(image: FloatImage, height: int, width: int, method: str) -> FloatImage:
        found.append(height)
        return np.zeros((height, width, 3), np.float32)

    monkeypatch.setattr(degradations, "interpolate", spy)
    monkeypatch.setattr(degradations, "gaussian_blur", lambda image, sigma, kernel_size: image)
    monkeypatch.setattr(degradations, "jpeg", lambda image, quality: image)
    monkeypatch.setattr(degradations, "add_noise", lambda image, sigma, rng: image)
    blank = np.zeros((512, 4, 3), np.float32)
    for seed in range(3000):
        degradations.low_resolution("bfr", blank, np.random.default_rng(seed), name)
    return np.array(found[::2], dtype=np.float64)


@pytest.mark.parametrize(("name", "median"), [("published", 1.5625), ("paper", 16.4)])
def test_factors_of_bfr(name: str, median: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Uniform sizes from 16 to 640 have a median factor of 512 / 328, uniform factors of 16.4.

    3,000 draws: the median of sizes is within 8 pixels (2.5 %), of factors within 4 %.
    """
    factors = 512 / _heights(name, monkeypatch)
    assert np.median(factors) == pytest.approx(median, rel=0.06)
    assert factors.min() == pytest.approx(0.8, rel=0.02)
    assert factors.max() == pytest.approx(32, rel=0.1)


def test_broad_denoising_covers_its_range() -> None:
    """On gray the noise of each draw has the deviation drawn: 15 to 90, uniform (to 10 %)."""
    rng = np.random.default_rng(0)
    gray = np.full((64, 64, 3), 0.5, np.float32)
    middle = [
        np.quantile(np.abs(degrade("denoising", gray, rng, "broad") - 0.5), 0.5) / 0.6745 * 255
        for _ in range(400)
    ]
    assert 14 < min(middle) < 18
    assert 86 < max(middle) < 95
    assert np.mean(middle) == pytest.approx(52.5, rel=0.1)


def test_broad_inpainting_loses_pixels_strokes_and_boxes() -> None:
    """Of white images: half lose 50 to 95 %, the others up to a few boxes' or strokes' area."""
    rng = np.random.default_rng(0)
    white = np.ones((64, 64, 3), np.float32)
    missing = np.array(
        [(degrade("inpainting", white, rng, "broad") < 0.5).mean() for _ in range(400)]
    )
    scattered = missing > 0.45
    assert scattered.mean() == pytest.approx(0.5, abs=0.1)
    assert missing[scattered].max() < 0.97
    assert missing[~scattered].min() > 0
    assert missing[~scattered].max() < 0.45


class _LastPlace(np.random.Generator):
    """Draws boxes of the least size at the last place that is possible."""

    def __init__(self) -> None:
        super().__init__(np.random.PCG64(0))

    def random(self, *args: Any, **kwargs: Any) -> Any:
        return 0.75  # the first number that means boxes

    def integers(self, low: Any, high: Any = None, **kwargs: Any) -> Any:
        return (low if high is None else high) - 1

    def uniform(self, low: Any = 0, high: Any = 1, size: Any = None) -> Any:
        return low


def test_boxes_lie_within_the_image() -> None:
    kept = degrade("inpainting", np.ones((100, 50, 3), np.float32), _LastPlace(), "broad")
    expected = np.ones((100, 50, 3), np.float32)
    expected[94:, 47:] = 0
    np.testing.assert_array_equal(kept, expected)


class _Seen:
    """What reached the operations while images were degraded."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.values: dict[str, list[float]] = {"noise_sigma": [], "blur_sigma": []}
        self.values["jpeg_quality"] = []
        self._spy(monkeypatch, degradations, "add_noise", "noise_sigma", 1)
        self._spy(monkeypatch, degradations, "gaussian_blur", "blur_sigma", 1)
        self._spy(monkeypatch, degradations, "jpeg", "jpeg_quality", 1)
        self._spy(monkeypatch, real_esrgan, "jpeg", "jpeg_quality", 1)
        self._spy(monkeypatch, real_esrgan, "bivariate_kernel", "blur_sigma", 1)

    def _spy(
        self, monkeypatch: pytest.MonkeyPatch, module: ModuleType, name: str, kind: str, place: int
    ) -> None:
        original = getattr(module, name)

        def recorded(*args: Any, **kwargs: Any) -> Any:
            self.values[kind].append(float(args[place]))
            return original(*args, **kwargs)

        monkeypatch.setattr(module, name, recorded)


@pytest.mark.parametrize(
    ("task", "name"), [(task, name) for task, names in DEGRADATIONS.items() for name in names]
)
def test_the_recorded_range_is_what_reaches_the_operations(
    task: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = _Seen(monkeypatch)
    clean = np.full((32, 32, 3), 0.5, np.float32)
    for seed in range(400):
        degrade(task, clean, np.random.default_rng(seed), name)
    recorded = get_degradation(task, name).range
    assert recorded.degradation == name
    for kind, values in seen.values.items():
        limits = getattr(recorded, kind)
        if not values:
            # Real-ESRGAN draws its noise by itself: `test_real_esrgan.py` holds it to its range.
            assert limits is None or (task, kind) == ("bsr", "noise_sigma"), kind
            continue
        low, high = limits
        span = high - low
        assert low <= min(values) <= max(values) <= high, kind
        # Of 400 uniform draws none in the outer 5 %: once in a billion.
        assert min(values) <= low + 0.05 * span, kind
        assert max(values) >= high - 0.05 * span, kind


def test_missing_shares_reach_their_extremes() -> None:
    white = np.ones((64, 64, 3), np.float32)
    shares = []
    for seed in range(600):
        rng = np.random.default_rng(seed)
        degraded = degrade("inpainting", white, rng, "broad")
        rng = np.random.default_rng(seed)
        if rng.random() < 0.5:
            shares.append(float((degraded < 0.5).mean()))
    low, high = get_degradation("inpainting", "broad").range.missing or (0, 0)
    # 4,096 pixels: a share is within 2.5 % of what was drawn (three deviations).
    assert min(shares) == pytest.approx(low, abs=0.03)
    assert max(shares) == pytest.approx(high, abs=0.03)
