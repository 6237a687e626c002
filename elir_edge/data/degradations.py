"""What the tasks undo: pure functions of (image, generator) (paper, section 5.1).

Images are float32 arrays (H, W, 3) in [0, 1], RGB. Strengths are the published ones, on the 8-bit
scale. Results are clipped to [0, 1], since that is what an image file can hold. Degraded images
keep the size of the clean one: where a task enlarges its input (`sr`, `bsr`), the enlargement by
the task's filter is the last step here, and `low_resolution` returns what a user would hold.
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
    """One way to spoil an image.

    Attributes:
        apply: a pure function of (image, generator).
        range: what it draws from.
    """

    apply: Callable[[FloatImage, np.random.Generator], FloatImage]
    range: TrainedRange


def denoising(image: FloatImage, rng: np.random.Generator) -> FloatImage:
    """Gaussian noise of 89.6."""
    return add_noise(image, _DENOISING_SIGMA, rng)


def denoising_broad(image: FloatImage, rng: np.random.Generator) -> FloatImage:
    """Gaussian noise of a standard deviation drawn uniformly from [15, 90]."""
    return add_noise(image, float(rng.uniform(*_DENOISING_SIGMAS)), rng)


def inpainting(image: FloatImage, rng: np.random.Generator) -> FloatImage:
    """90 % of the pixels (all channels) set to 0, then Gaussian noise of 25.6."""
    return add_noise(image * _scattered(image, _MISSING, rng), _INPAINTING_SIGMA, rng)


def inpainting_broad(image: FloatImage, rng: np.random.Generator) -> FloatImage:
    """Missing pixels (50 to 95 %), strokes, or boxes, then Gaussian noise of 0 to 25.6.

    Half of the images lose scattered pixels, a quarter strokes, a quarter one to three boxes whose
    sides are up to a quarter of the image's.
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
    """Return 1 where a pixel is kept, else 0, (H, W, 1)."""
    kept = rng.random(image.shape[:2], dtype=np.float32) >= missing
    return kept[..., None].astype(np.float32)


def _strokes(image: FloatImage, rng: np.random.Generator) -> FloatImage:
    """Return a mask (H, W, 1) without one to four pen strokes of 2 to 4 % of the side's width."""
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
    """Return a mask (H, W, 1) without one to three boxes."""
    height, width = image.shape[:2]
    mask = np.ones((height, width, 1), np.float32)
    for _ in range(int(rng.integers(1, 4))):
        rows, columns = (max(1, int(s * rng.uniform(0.06, 0.25))) for s in (height, width))
        top, left = rng.integers(height - rows + 1), rng.integers(width - columns + 1)
        mask[top : top + rows, left : left + columns] = 0
    return mask


def low_sr(image: FloatImage, rng: np.random.Generator) -> FloatImage:
    """Bicubic to 1/8, then Gaussian noise of 12.8: the small image a user holds."""
    height, width = (max(1, side // _SR_FACTOR) for side in image.shape[:2])
    return add_noise(resize(image, height, width, "bicubic"), _SR_SIGMA, rng)


def low_bsr(image: FloatImage, rng: np.random.Generator) -> FloatImage:
    """First-order Real-ESRGAN to 1/4 (`real_esrgan.py`): the small image a user holds."""
    return degrade_x4(image, rng)


def low_bsr_test(image: FloatImage, rng: np.random.Generator) -> FloatImage:
    """As `low_bsr`, with the milder strengths of ResShift's test set (Table 1(b))."""
    return degrade_x4(image, rng, RESSHIFT_TEST)


def bfr_paper(image: FloatImage, rng: np.random.Generator) -> FloatImage:
    """`{[(x * k_sigma) down r + n_delta]_JPEG_Q} up r`, all four drawn uniformly (section 5.1)."""
    sigma, factor = float(rng.uniform(*_BFR_BLUR)), float(rng.uniform(*_BFR_FACTORS))
    height, width = image.shape[:2]
    return _bfr(image, sigma, (int(height // factor), int(width // factor)), rng)


def bfr_published(image: FloatImage, rng: np.random.Generator) -> FloatImage:
    """As `bfr_paper`, but the reduced *size* is uniform, as in the published code.

    The height lies between H / 32 and H / 0.8, so that half of the factors are below 1.6; where
    the factor itself is uniform, half are above 16.
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
"""By task and name; the first of a task is its default."""


def degradation_name(task: str, name: str | None = None) -> str:
    """Return the name of a task's degradation; None: of its default.

    Raises:
        UsageError: no such task, or none of its degradations.
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
    """Return a task's degradation by its name; None: its default.

    Raises:
        UsageError: no such task, or none of its degradations.
    """
    return DEGRADATIONS[get_task(task).name][degradation_name(task, name)]


def low_resolution(
    task: str, image: FloatImage, rng: np.random.Generator, degradation: str | None = None
) -> FloatImage:
    """Return what a user of the task would hold: reduced by the task's factor, if it has one.

    Raises:
        UsageError: no such task or degradation.
    """
    return get_degradation(task, degradation).apply(image, rng)


def degrade(
    task: str, image: FloatImage, rng: np.random.Generator, degradation: str | None = None
) -> FloatImage:
    """Return the network's input for a clean image (H, W, 3) in [0, 1]: same size and range.

    Args:
        task: one of the five.
        image: the clean image.
        rng: of what is random.
        degradation: one of `DEGRADATIONS`; None: the task's default.

    Raises:
        UsageError: no such task or degradation.
    """
    properties = get_task(task)
    degraded = low_resolution(task, image, rng, degradation)
    return resize(degraded, image.shape[0], image.shape[1], properties.upscale_filter)
