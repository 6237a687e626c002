"""The operations that degradations consist of; images are float32 (H, W, C) in [0, 1]."""

import io

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn import functional as F

FloatImage = NDArray[np.float32]


def add_noise(image: FloatImage, sigma: float, rng: np.random.Generator) -> FloatImage:
    """Add Gaussian noise of standard deviation `sigma` (of 255), then clip to [0, 1]."""
    noise = rng.standard_normal(image.shape, dtype=np.float32)
    noisy: FloatImage = np.clip(image + noise * np.float32(sigma / 255), 0, 1)
    return noisy


def resize(image: FloatImage, height: int, width: int, method: str) -> FloatImage:
    """Resize by `nearest`, `bilinear`, `bicubic` or `area`, with antialiasing when reducing."""
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


def interpolate(image: FloatImage, height: int, width: int, method: str) -> FloatImage:
    """Resize by `area`, `bilinear` or `bicubic` without antialiasing, as published pipelines do.

    A reduction by more than 2 therefore skips pixels, except with `area`, which averages all.
    """
    if image.shape[:2] == (height, width):
        return image
    planes = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))[None]
    align = None if method == "area" else False
    resized = F.interpolate(planes, size=(height, width), mode=method, align_corners=align)
    return np.ascontiguousarray(resized[0].clamp(0, 1).numpy().transpose(1, 2, 0))


def luma(image: FloatImage) -> FloatImage:
    """Return the BT.601 luma (H, W, 1)."""
    weights = np.array([0.299, 0.587, 0.114], np.float32)
    return np.asarray(image @ weights[:, None])


def jpeg(image: FloatImage, quality: int) -> FloatImage:
    """Compress to JPEG of the given quality (1 to 100) and decompress."""
    buffer = io.BytesIO()
    Image.fromarray(to_uint8(image)).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer).convert("RGB"), dtype=np.float32) / np.float32(255)


def to_uint8(image: FloatImage) -> NDArray[np.uint8]:
    """Convert values in [0, 1] to 8 bits by clipping and rounding."""
    return np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)


def filter2d(image: FloatImage, kernel: NDArray[np.float64]) -> FloatImage:
    """Correlate all channels with a kernel of odd sides (edges reflected), then clip to [0, 1].

    Computed by FFT, whose cost does not grow with the kernel; exact to 1e-6.
    """
    height, width = image.shape[:2]
    rows, columns = (side // 2 for side in kernel.shape)
    padded = np.pad(image, ((rows, rows), (columns, columns), (0, 0)), mode="symmetric")
    planes = torch.from_numpy(np.ascontiguousarray(padded.transpose(2, 0, 1)))
    size = planes.shape[-2:]
    flipped = torch.from_numpy(
        kernel[::-1, ::-1].astype(np.float32)
    )  # correlation, not convolution
    product = torch.fft.rfft2(planes) * torch.fft.rfft2(flipped, s=size)
    filtered = torch.fft.irfft2(product, s=size)[:, 2 * rows :, 2 * columns :]
    result = filtered[:, :height, :width].numpy().transpose(1, 2, 0)
    return np.ascontiguousarray(np.clip(result, 0, 1))


def gaussian_blur(image: FloatImage, sigma: float, *, kernel_size: int) -> FloatImage:
    """Blur with a truncated Gaussian kernel of kernel_size x kernel_size; edges are reflected."""
    half = kernel_size // 2
    kernel = np.exp(-0.5 * (np.arange(-half, half + 1, dtype=np.float64) / sigma) ** 2)
    kernel /= kernel.sum()
    return filter2d(image, np.outer(kernel, kernel))


def mean_laplacian(image: FloatImage) -> float:
    """Return the mean absolute Laplacian: |4 pixel - sum of its four neighbours|, a sharpness."""
    x = image.astype(np.float64)
    centre = x[1:-1, 1:-1]
    around = x[:-2, 1:-1] + x[2:, 1:-1] + x[1:-1, :-2] + x[1:-1, 2:]
    return float(np.abs(4 * centre - around).mean())


def relative_sharpness(image: FloatImage, clean: FloatImage) -> float | None:
    """Return an image's mean absolute Laplacian divided by the clean photo's.

    None where the clean photo is flat, so that there is no sharpness to restore.
    """
    reference = mean_laplacian(clean)
    return mean_laplacian(image) / reference if reference else None
