"""The degradations that the tasks undo: pure functions of (image, generator) (paper, section 5.1).

Images are float32 RGB arrays (H, W, 3) in [0, 1]. Noise strengths are the published ones, as
standard deviations on the 8-bit scale (of 255). Results are clipped to [0, 1], like the values of
an image file. `low_resolution` returns the image that a user would have. `degrade` returns the
network's input, of the clean image's size: tasks that enlarge (`sr`, `bsr`) add an upsampling step.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from elir_edge.data.operations import (
    FloatImage,
    add_noise,
    gaussian_blur,
    interpolate,
    jpeg,
    resize,
)
from elir_edge.data.real_esrgan import RESSHIFT_TEST, TRAINING, RealEsrganSettings, degrade_x4
from elir_edge.errors import UsageError
from elir_edge.tasks import TASKS, TrainedRange, get_task

_DENOISING_SIGMA = 89.6
_DENOISING_SIGMAS = (15.0, 90.0)
_INPAINTING_SIGMA = 25.6
_MISSING = 0.9
_MISSING_SHARES = (0.5, 0.95)
_SR_FACTOR, _SR_SIGMA = 8, 12.8
_BFR_BLUR, _BFR_FACTORS, _BFR_SIGMAS = (0.1, 15.0), (0.8, 32.0), (0.0, 20.0)
_BFR_QUALITIES = (30, 100)
_BSR_FACTOR = 4.0


@dataclass(frozen=True, kw_only=True)
class Degradation:
    """One way to degrade an image.

    Attributes:
        apply: the degradation, a pure function of (image, generator).
        range: the range of the parameters that it draws.
    """

    apply: Callable[[FloatImage, np.random.Generator], FloatImage]
    range: TrainedRange


def denoising(image: FloatImage, rng: np.random.Generator) -> FloatImage:
    """Gaussian noise with a standard deviation of 89.6."""
    return add_noise(image, _DENOISING_SIGMA, rng)


def denoising_broad(image: FloatImage, rng: np.random.Generator) -> FloatImage:
    """Gaussian noise with a standard deviation drawn uniformly from [15, 90]."""
    return add_noise(image, float(rng.uniform(*_DENOISING_SIGMAS)), rng)


def inpainting(image: FloatImage, rng: np.random.Generator) -> FloatImage:
    """90 % of the pixels (all channels) set to 0, then Gaussian noise (standard deviation 25.6)."""
    return add_noise(image * _scattered(image, _MISSING, rng), _INPAINTING_SIGMA, rng)


def inpainting_broad(image: FloatImage, rng: np.random.Generator) -> FloatImage:
    """Pixels, strokes or boxes set to 0, then Gaussian noise (standard deviation 0 to 25.6).

    Half of the images lose 50 to 95 % of their pixels at random, a quarter lose strokes, and a
    quarter lose one to three boxes with sides of up to a quarter of the image's.
    """
    kind = rng.random()
    if kind < 0.5:
        kept = _scattered(image, float(rng.uniform(*_MISSING_SHARES)), rng)
    elif kind < 0.75:
        kept = _strokes(image, rng)
    else:
        kept = _boxes(image, rng)
    return add_noise(image * kept, float(rng.uniform(0, _INPAINTING_SIGMA)), rng)


def _scattered(image: FloatImage, missing: float, rng: np.random.Generator) -> FloatImage:
    """Return a mask (H, W, 1): 1 where a pixel is kept, 0 with probability `missing`."""
    kept = rng.random(image.shape[:2], dtype=np.float32) >= missing
    return kept[..., None].astype(np.float32)


def _strokes(image: FloatImage, rng: np.random.Generator) -> FloatImage:
    """Return a mask (H, W, 1): 0 on one to four strokes as wide as 2 to 4 % of the short side."""
    height, width = image.shape[:2]
    side = min(height, width)
    mask = Image.new("L", (width, height), 1)
    draw = ImageDraw.Draw(mask)
    for _ in range(int(rng.integers(1, 5))):
        points = rng.uniform((0, 0), (width, height), (int(rng.integers(2, 5)), 2))
        thickness = max(2, round(side * float(rng.uniform(0.02, 0.04))))
        draw.line([(float(x), float(y)) for x, y in points], 0, thickness, joint="curve")
    return np.asarray(mask, dtype=np.float32)[..., None]


def _boxes(image: FloatImage, rng: np.random.Generator) -> FloatImage:
    """Return a mask (H, W, 1) that is 0 in one to three boxes and 1 elsewhere."""
    height, width = image.shape[:2]
    mask = np.ones((height, width, 1), np.float32)
    for _ in range(int(rng.integers(1, 4))):
        rows, columns = (max(1, int(s * rng.uniform(0.06, 0.25))) for s in (height, width))
        top, left = rng.integers(height - rows + 1), rng.integers(width - columns + 1)
        mask[top : top + rows, left : left + columns] = 0
    return mask


def low_sr(image: FloatImage, rng: np.random.Generator) -> FloatImage:
    """Bicubic reduction to 1/8, then Gaussian noise (standard deviation 12.8); a small image."""
    height, width = (max(1, side // _SR_FACTOR) for side in image.shape[:2])
    return add_noise(resize(image, height, width, "bicubic"), _SR_SIGMA, rng)


def low_bsr(image: FloatImage, rng: np.random.Generator) -> FloatImage:
    """First-order Real-ESRGAN degradation to 1/4 (`real_esrgan.py`); a small image."""
    return degrade_x4(image, rng)


def low_bsr_test(image: FloatImage, rng: np.random.Generator) -> FloatImage:
    """Like `low_bsr`, with the milder strengths of ResShift's test set (Table 1(b))."""
    return degrade_x4(image, rng, RESSHIFT_TEST)


def bfr_paper(image: FloatImage, rng: np.random.Generator) -> FloatImage:
    """`{[(x * k_sigma) down r + n_delta]_JPEG_Q} up r`, parameters uniform (section 5.1)."""
    sigma, factor = float(rng.uniform(*_BFR_BLUR)), float(rng.uniform(*_BFR_FACTORS))
    height, width = image.shape[:2]
    return _bfr(image, sigma, (int(height // factor), int(width // factor)), rng)


def bfr_published(image: FloatImage, rng: np.random.Generator) -> FloatImage:
    """Like `bfr_paper`, but the reduced *size* is uniform, as in the published code.

    The reduced height is uniform in [H / 32, H / 0.8], so half of the factors are below 1.6. With
    a uniform factor (`bfr_paper`), half are above 16.
    """
    sigma = float(rng.uniform(*_BFR_BLUR))
    height, width = image.shape[:2]
    share = float(rng.uniform(1 / _BFR_FACTORS[1], 1 / _BFR_FACTORS[0]))
    return _bfr(image, sigma, (int(height * share), int(width * share)), rng)


def _bfr(
    image: FloatImage, sigma: float, size: tuple[int, int], rng: np.random.Generator
) -> FloatImage:
    height, width = image.shape[:2]
    delta = float(rng.uniform(*_BFR_SIGMAS))
    quality = int(rng.integers(_BFR_QUALITIES[0], _BFR_QUALITIES[1] + 1))
    blurred = gaussian_blur(image, sigma, kernel_size=41)
    small = interpolate(blurred, max(1, size[0]), max(1, size[1]), "bilinear")
    return interpolate(jpeg(add_noise(small, delta, rng), quality), height, width, "bilinear")


def _bfr_range(name: str) -> TrainedRange:
    return TrainedRange(
        degradation=name,
        reduction=_BFR_FACTORS,
        noise_sigma=_BFR_SIGMAS,
        blur_sigma=_BFR_BLUR,
        jpeg_quality=_BFR_QUALITIES,
    )


def _bsr_range(name: str, settings: RealEsrganSettings) -> TrainedRange:
    first, second = settings.jpeg_range, settings.final_jpeg_range
    return TrainedRange(
        degradation=name,
        reduction=(_BSR_FACTOR, _BSR_FACTOR),
        noise_sigma=settings.gaussian_range,
        blur_sigma=settings.blur_sigma,
        jpeg_quality=(min(first[0], second[0]), max(first[1], second[1])),
    )


_ALL = (
    ("bfr", bfr_published, _bfr_range("published")),
    ("bfr", bfr_paper, _bfr_range("paper")),
    (
        "sr",
        low_sr,
        TrainedRange(
            degradation="paper",
            reduction=(_SR_FACTOR, _SR_FACTOR),
            noise_sigma=(_SR_SIGMA, _SR_SIGMA),
        ),
    ),
    (
        "denoising",
        denoising,
        TrainedRange(degradation="paper", noise_sigma=(_DENOISING_SIGMA, _DENOISING_SIGMA)),
    ),
    (
        "denoising",
        denoising_broad,
        TrainedRange(degradation="broad", noise_sigma=_DENOISING_SIGMAS),
    ),
    (
        "inpainting",
        inpainting,
        TrainedRange(
            degradation="paper",
            noise_sigma=(_INPAINTING_SIGMA, _INPAINTING_SIGMA),
            missing=(_MISSING, _MISSING),
        ),
    ),
    (
        "inpainting",
        inpainting_broad,
        TrainedRange(
            degradation="broad", noise_sigma=(0.0, _INPAINTING_SIGMA), missing=_MISSING_SHARES
        ),
    ),
    ("bsr", low_bsr, _bsr_range("resshift", TRAINING)),
    ("bsr", low_bsr_test, _bsr_range("resshift-test", RESSHIFT_TEST)),
)

DEGRADATIONS: Mapping[str, Mapping[str, Degradation]] = {
    task: {
        trained.degradation: Degradation(apply=function, range=trained)
        for name, function, trained in _ALL
        if name == task
    }
    for task in TASKS
}
"""Degradations by task and name; the first of each task is its default."""


def degradation_name(task: str, name: str | None = None) -> str:
    """Return the checked name of a task's degradation; `name` None: the default's name.

    Raises:
        UsageError: there is no such task, or the task has no such degradation.
    """
    known = DEGRADATIONS[get_task(task).name]
    if name is None:
        return next(iter(known))
    if name not in known:
        raise UsageError(
            f"unknown degradation {name!r} of {task}", expected=f"one of {', '.join(known)}"
        )
    return name


def get_degradation(task: str, name: str | None = None) -> Degradation:
    """Return a task's degradation by its name; `name` None: the default.

    Raises:
        UsageError: there is no such task, or the task has no such degradation.
    """
    return DEGRADATIONS[get_task(task).name][degradation_name(task, name)]


def low_resolution(
    task: str, image: FloatImage, rng: np.random.Generator, degradation: str | None = None
) -> FloatImage:
    """Return the degraded image that a user would have, reduced by the task's factor, if any.

    Raises:
        UsageError: there is no such task or degradation.
    """
    return get_degradation(task, degradation).apply(image, rng)


def degrade(
    task: str, image: FloatImage, rng: np.random.Generator, degradation: str | None = None
) -> FloatImage:
    """Return the network's input for a clean image, of the same size and range.

    Args:
        task: one of the five tasks.
        image: the clean image, (H, W, 3) in [0, 1].
        rng: generator of the random parameters and the noise.
        degradation: one of `DEGRADATIONS[task]`; None: the task's default.

    Raises:
        UsageError: there is no such task or degradation.
    """
    properties = get_task(task)
    degraded = low_resolution(task, image, rng, degradation)
    return resize(degraded, image.shape[0], image.shape[1], properties.upscale_filter)
