"""What the tasks undo: pure functions of (image, generator) (paper, section 5.1).

Images are float32 arrays (H, W, 3) in [0, 1], RGB. Strengths are the published ones, on the 8-bit
scale. Results are clipped to [0, 1], since that is what an image file can hold. Degraded images
keep the size of the clean one: where a task enlarges its input (`sr`, `bsr`), the enlargement by
the task's filter is the last step here, and `low_resolution` returns what a user would hold.
"""

from collections.abc import Callable

import numpy as np

from elir_edge.data.operations import (
    FloatImage,
    add_noise,
    gaussian_blur,
    interpolate,
    jpeg,
    resize,
)
from elir_edge.data.real_esrgan import degrade_x4
from elir_edge.tasks import get_task

Degradation = Callable[[FloatImage, np.random.Generator], FloatImage]


def denoising(image: FloatImage, rng: np.random.Generator) -> FloatImage:
    """Gaussian noise of 89.6."""
    return add_noise(image, 89.6, rng)


def inpainting(image: FloatImage, rng: np.random.Generator) -> FloatImage:
    """90 % of the pixels (all channels) set to 0, then Gaussian noise of 25.6."""
    kept = rng.random(image.shape[:2], dtype=np.float32) >= 0.9
    return add_noise(image * kept[..., None].astype(np.float32), 25.6, rng)


def low_sr(image: FloatImage, rng: np.random.Generator) -> FloatImage:
    """Bicubic to 1/8, then Gaussian noise of 12.8: the small image a user holds."""
    height, width = image.shape[:2]
    return add_noise(resize(image, max(1, height // 8), max(1, width // 8), "bicubic"), 12.8, rng)


def low_bsr(image: FloatImage, rng: np.random.Generator) -> FloatImage:
    """First-order Real-ESRGAN to 1/4 (`real_esrgan.py`): the small image a user holds."""
    return degrade_x4(image, rng)


def bfr(image: FloatImage, rng: np.random.Generator) -> FloatImage:
    """`{[(x * k_sigma) down r + n_delta]_JPEG_Q} up r`, all four drawn uniformly (section 5.1)."""
    height, width = image.shape[:2]
    sigma, factor = float(rng.uniform(0.1, 15)), float(rng.uniform(0.8, 32))
    delta, quality = float(rng.uniform(0, 20)), int(rng.integers(30, 101))
    blurred = gaussian_blur(image, sigma, kernel_size=41)
    small = interpolate(
        blurred, max(1, int(height // factor)), max(1, int(width // factor)), "bilinear"
    )
    return interpolate(jpeg(add_noise(small, delta, rng), quality), height, width, "bilinear")


_SAME_SIZE: dict[str, Degradation] = {"bfr": bfr, "denoising": denoising, "inpainting": inpainting}
_REDUCING: dict[str, Degradation] = {"sr": low_sr, "bsr": low_bsr}


def low_resolution(task: str, image: FloatImage, rng: np.random.Generator) -> FloatImage:
    """Return what a user of the task would hold: reduced by the task's factor, if it has one."""
    return (_REDUCING | _SAME_SIZE)[get_task(task).name](image, rng)


def degrade(task: str, image: FloatImage, rng: np.random.Generator) -> FloatImage:
    """Return the network's input for a clean image (H, W, 3) in [0, 1]: same size and range.

    Raises:
        UsageError: no such task.
    """
    properties = get_task(task)
    degraded = low_resolution(task, image, rng)
    return resize(degraded, image.shape[0], image.shape[1], properties.upscale_filter)
