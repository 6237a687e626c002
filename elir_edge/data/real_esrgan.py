"""The first-order Real-ESRGAN degradation, x4, of the task `bsr` (Wang et al., 2021; section 5.1).

blur -> resize -> noise -> JPEG, then, in either order, (resize to 1/4 -> sinc) and JPEG. ResShift
(Yue et al., 2024) adds a second round of blur, resize and noise to some images; the paper's `bsr`
does not. Strengths are on the 8-bit scale; images are float32 (H, W, 3) in [0, 1].
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from elir_edge.data.kernels import (
    Kernel,
    bivariate_kernel,
    gaussian_profile,
    plateau_profile,
    sinc_kernel,
)
from elir_edge.data.operations import FloatImage, filter2d, interpolate, jpeg, luma
from elir_edge.errors import ConfigError

KERNELS = ("iso", "aniso", "generalized_iso", "generalized_aniso", "plateau_iso", "plateau_aniso")
"""Shapes of the blur kernel, in the order of `RealEsrganSettings.kernel_shares`."""

_RESIZE_METHODS = ("area", "bilinear", "bicubic")


@dataclass(frozen=True, kw_only=True)
class RealEsrganSettings:
    """Strengths and probabilities of the pipeline; the defaults are ResShift's for training.

    Attributes:
        sinc_share: probability that the first filter is a sinc instead of a blur kernel.
        kernel_shares: probabilities of `KERNELS` otherwise.
        max_kernel_size: largest kernel size; sizes are drawn from the odd numbers from 7 on.
        blur_sigma: range of the kernels' standard deviations, in pixels.
        generalized_beta: range of the generalized Gaussians' exponent.
        plateau_beta: range of the plateau kernels' exponent.
        resize_shares: probabilities that the first resize enlarges, reduces or keeps the size.
        resize_range: smallest and largest factor of the first resize.
        gaussian_share: probability of Gaussian noise; otherwise Poisson noise.
        gaussian_range: range of the Gaussian noise's standard deviation (of 255).
        poisson_range: range of the Poisson noise's scale.
        gray_share: probability that the noise is the same in all channels.
        jpeg_range: quality of the first compression.
        final_jpeg_range: quality of the second compression.
        final_sinc_share: probability of a sinc filter after the last resize.

    Raises:
        ConfigError: a share is not a probability, the shares of a list do not sum to 1, or the
            lower end of a range exceeds the upper end.
    """

    sinc_share: float = 0.1
    kernel_shares: tuple[float, ...] = (0.45, 0.25, 0.12, 0.03, 0.12, 0.03)
    max_kernel_size: int = 21
    blur_sigma: tuple[float, float] = (0.2, 3.0)
    generalized_beta: tuple[float, float] = (0.5, 4.0)
    plateau_beta: tuple[float, float] = (1.0, 2.0)
    resize_shares: tuple[float, float, float] = (0.2, 0.7, 0.1)
    resize_range: tuple[float, float] = (0.15, 1.5)
    gaussian_share: float = 0.5
    gaussian_range: tuple[float, float] = (1, 30)
    poisson_range: tuple[float, float] = (0.05, 3.0)
    gray_share: float = 0.4
    jpeg_range: tuple[int, int] = (30, 95)
    final_jpeg_range: tuple[int, int] = (30, 95)
    final_sinc_share: float = 0.8

    def __post_init__(self) -> None:
        """Check shares and ranges."""
        shares = (self.sinc_share, self.gaussian_share, self.gray_share, self.final_sinc_share)
        sums = [sum(self.kernel_shares), sum(self.resize_shares)]
        ranges = [
            self.blur_sigma,
            self.generalized_beta,
            self.plateau_beta,
            self.resize_range,
            self.gaussian_range,
            self.poisson_range,
            self.jpeg_range,
            self.final_jpeg_range,
        ]
        if any(not 0 <= share <= 1 for share in shares) or any(abs(s - 1) > 1e-9 for s in sums):
            raise ConfigError(
                "Real-ESRGAN shares are invalid", expected="[0, 1], lists summing to 1"
            )
        if len(self.kernel_shares) != len(KERNELS) or any(low > high for low, high in ranges):
            raise ConfigError("Real-ESRGAN ranges are invalid", expected="low <= high")
        if self.max_kernel_size < 7 or self.max_kernel_size % 2 != 1:
            raise ConfigError("Real-ESRGAN kernels are invalid", expected="an odd size >= 7")


TRAINING = RealEsrganSettings()
"""The settings that `bsr` is trained and evaluated with in this project."""

RESSHIFT_TEST = RealEsrganSettings(
    max_kernel_size=13,
    kernel_shares=(0.6, 0.4, 0, 0, 0, 0),
    blur_sigma=(0.2, 0.8),
    generalized_beta=(1.0, 1.5),
    plateau_beta=(1.0, 1.2),
    resize_range=(0.5, 1.5),
    gaussian_range=(1, 15),
    poisson_range=(0.05, 0.3),
    jpeg_range=(70, 95),
    final_jpeg_range=(80, 100),
    final_sinc_share=0.2,
)
"""The milder strengths of ResShift's synthetic test set, which the paper's Table 1(b) uses."""


def degrade_x4(
    image: FloatImage, rng: np.random.Generator, settings: RealEsrganSettings = TRAINING
) -> FloatImage:
    """Return the low-resolution image (H // 4, W // 4, 3); values are multiples of 1/255."""
    height, width = image.shape[:2]
    blurred = filter2d(image, draw_blur(rng, settings))
    resized = _random_resize(blurred, rng, settings)
    noisy = add_random_noise(resized, rng, settings)
    compressed = jpeg(noisy, _draw_quality(rng, settings.jpeg_range))
    size = (max(1, height // 4), max(1, width // 4))
    sharpened = _draw_final_sinc(rng, settings)
    method = str(rng.choice(_RESIZE_METHODS))
    quality = _draw_quality(rng, settings.final_jpeg_range)
    if rng.random() < 0.5:
        return jpeg(filter2d(interpolate(compressed, *size, method), sharpened), quality)
    small = filter2d(interpolate(jpeg(compressed, quality), *size, method), sharpened)
    return (np.rint(small * 255) / 255).astype(np.float32)


def draw_blur(rng: np.random.Generator, settings: RealEsrganSettings) -> Kernel:
    """Return the first blur kernel: a sinc or one of `KERNELS`, of random size and parameters."""
    size = int(rng.choice(np.arange(7, settings.max_kernel_size + 1, 2)))
    if rng.random() < settings.sinc_share:
        lowest = np.pi / 3 if size < 13 else np.pi / 5
        return sinc_kernel(size, float(rng.uniform(lowest, np.pi)))
    name = str(rng.choice(KERNELS, p=settings.kernel_shares))
    family, _, shape = name.rpartition("_")
    sigma_x = float(rng.uniform(*settings.blur_sigma))
    sigma_y, angle = sigma_x, 0.0
    if shape == "aniso":
        sigma_y, angle = float(rng.uniform(*settings.blur_sigma)), float(rng.uniform(-np.pi, np.pi))
    betas = {"generalized": settings.generalized_beta, "plateau": settings.plateau_beta}
    beta = _draw_beta(rng, betas[family]) if family else 1.0
    profile = plateau_profile if family == "plateau" else gaussian_profile
    return bivariate_kernel(size, sigma_x, sigma_y, angle, beta, profile)


def add_random_noise(
    image: FloatImage, rng: np.random.Generator, settings: RealEsrganSettings
) -> FloatImage:
    """Add Gaussian or Poisson noise, equal or independent across channels, then clip to [0, 1]."""
    gray = bool(rng.random() < settings.gray_share)
    if rng.random() < settings.gaussian_share:
        sigma = float(rng.uniform(*settings.gaussian_range)) / 255
        channels = 1 if gray else image.shape[2]
        noise = sigma * rng.standard_normal((*image.shape[:2], channels))
    else:
        noise = float(rng.uniform(*settings.poisson_range)) * poisson_noise(image, rng, gray=gray)
    return np.asarray(np.clip(image + noise, 0, 1), dtype=np.float32)


def poisson_noise(
    image: FloatImage, rng: np.random.Generator, *, gray: bool
) -> NDArray[np.float64]:
    """Return Poisson noise (H, W, 3), or (H, W, 1) computed from the luma if `gray`.

    The image is first rounded to 8 bits. The number of photons at full scale is the number of
    distinct levels, rounded up to a power of two.
    """
    levels = np.rint(np.clip(luma(image) if gray else image, 0, 1).astype(np.float64) * 255)
    photons = 2 ** np.ceil(np.log2(len(np.unique(levels))))
    clean = levels / 255
    return np.asarray(rng.poisson(clean * photons) / photons - clean)


def _random_resize(
    image: FloatImage, rng: np.random.Generator, settings: RealEsrganSettings
) -> FloatImage:
    low, high = settings.resize_range
    mode = str(rng.choice(("up", "down", "keep"), p=settings.resize_shares))
    bounds = {"up": (1.0, max(1.0, high)), "down": (min(1.0, low), 1.0), "keep": (1.0, 1.0)}
    scale = float(rng.uniform(*bounds[mode]))
    height, width = (max(1, int(side * scale)) for side in image.shape[:2])
    return interpolate(image, height, width, str(rng.choice(_RESIZE_METHODS)))


def _draw_final_sinc(rng: np.random.Generator, settings: RealEsrganSettings) -> Kernel:
    size = int(rng.choice(np.arange(7, settings.max_kernel_size + 1, 2)))
    cutoff = float(rng.uniform(np.pi / 3, np.pi))
    if rng.random() < settings.final_sinc_share:
        return sinc_kernel(size, cutoff)
    return np.ones((1, 1))


def _draw_beta(rng: np.random.Generator, bounds: tuple[float, float]) -> float:
    """Draw an exponent below 1 or above 1 with equal probability, as far as the range allows."""
    low, high = bounds
    below = bool(rng.random() < 0.5) and low < 1
    return float(rng.uniform(low, 1) if below else rng.uniform(max(1, low), high))


def _draw_quality(rng: np.random.Generator, bounds: tuple[int, int]) -> int:
    low, high = bounds
    return int(rng.integers(low, high + 1))
