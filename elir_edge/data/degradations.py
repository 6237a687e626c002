"""What the tasks undo: pure functions of (image, generator) (paper, section 5.1).

Images are float32 arrays (H, W, 3) in [0, 1], RGB. Strengths are the published ones, on the 8-bit
scale, except that `bsr` has a light stand-in for its random pipeline. Results are clipped to
[0, 1], since that is what an image file can hold. Degraded images keep the size of the clean one:
where a task enlarges its input (`sr`, `bsr`), the enlargement by the task's filter is the last step
here, and `low_resolution` returns what a user would hold.
"""

import io
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from elir_edge.tasks import get_task

FloatImage = NDArray[np.float32]
Degradation = Callable[[FloatImage, np.random.Generator], FloatImage]


def add_noise(image: FloatImage, sigma: float, rng: np.random.Generator) -> FloatImage:
    """Add Gaussian noise of standard deviation `sigma` (8-bit scale), then clip."""
    noise = rng.standard_normal(image.shape, dtype=np.float32)
    noisy: FloatImage = np.clip(image + noise * np.float32(sigma / 255), 0, 1)
    return noisy


def resize(image: FloatImage, height: int, width: int, method: str) -> FloatImage:
    """Resize by `nearest`, `bilinear`, `bicubic` or `area`, antialiased when reducing."""
    if image.shape[:2] == (height, width):
        return image
    filters = {
        "nearest": Image.Resampling.NEAREST,
        "bilinear": Image.Resampling.BILINEAR,
        "bicubic": Image.Resampling.BICUBIC,
        "area": Image.Resampling.BOX,
    }
    channels = [
        np.asarray(Image.fromarray(image[..., c]).resize((width, height), filters[method]))
        for c in range(image.shape[2])
    ]
    resized: FloatImage = np.clip(np.stack(channels, axis=-1), 0, 1).astype(np.float32)
    return resized


def jpeg(image: FloatImage, quality: int) -> FloatImage:
    """Compress and decompress as JPEG of the given quality."""
    buffer = io.BytesIO()
    Image.fromarray(to_uint8(image)).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer).convert("RGB"), dtype=np.float32) / np.float32(255)


def to_uint8(image: FloatImage) -> NDArray[np.uint8]:
    """Round [0, 1] to 8 bits."""
    return np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)


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
    """Blur, bicubic to 1/4, noise and JPEG: a light form of the x4 blind degradation."""
    height, width = image.shape[:2]
    radius = float(rng.uniform(0.2, 1.5))
    blurred = np.asarray(
        Image.fromarray(to_uint8(image)).filter(ImageFilter.GaussianBlur(radius)), dtype=np.float32
    ) / np.float32(255)
    small = resize(blurred, max(1, height // 4), max(1, width // 4), "bicubic")
    return jpeg(add_noise(small, float(rng.uniform(1, 10)), rng), int(rng.integers(60, 96)))


def bfr(image: FloatImage, rng: np.random.Generator) -> FloatImage:
    """`{[(x * k_sigma) down r + n_delta]_JPEG_Q} up r`, all four drawn uniformly (section 5.1)."""
    height, width = image.shape[:2]
    sigma, factor = float(rng.uniform(0.1, 15)), float(rng.uniform(0.8, 32))
    delta, quality = float(rng.uniform(0, 20)), int(rng.integers(30, 101))
    blurred = gaussian_blur(image, sigma, kernel_size=41)
    small = resize(
        blurred, max(1, round(height / factor)), max(1, round(width / factor)), "bilinear"
    )
    return resize(jpeg(add_noise(small, delta, rng), quality), height, width, "bilinear")


def gaussian_blur(image: FloatImage, sigma: float, *, kernel_size: int) -> FloatImage:
    """Blur by a truncated Gaussian kernel of kernel_size x kernel_size, edges reflected."""
    half = kernel_size // 2
    kernel = np.exp(-0.5 * (np.arange(-half, half + 1, dtype=np.float64) / sigma) ** 2)
    kernel /= kernel.sum()
    result = image.astype(np.float64)
    for axis in (0, 1):
        padding = [(half, half) if a == axis else (0, 0) for a in range(3)]
        padded = np.pad(result, padding, mode="symmetric")
        result = sum(
            weight * np.take(padded, np.arange(i, i + image.shape[axis]), axis=axis)
            for i, weight in enumerate(kernel)
        )
    return np.clip(result, 0, 1).astype(np.float32)


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
