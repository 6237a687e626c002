"""Arrays of pixels: validation, conversion to and from floats, padding and resizing."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from elir_edge.errors import ImageError

FloatImage = NDArray[np.float32]

MAX_OUTPUT_PIXELS = 1 << 29
_CHANNELS = ((), (1,), (3,), (4,))
"""Allowed channel axes: none, or one of this length."""
_FILTERS = {"nearest": Image.Resampling.NEAREST, "bicubic": Image.Resampling.BICUBIC}
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)


def check_array(image: NDArray[Any], upscale: int) -> None:
    """Check that an array can be restored, and that the result is not too large.

    Args:
        image: (H, W), (H, W, 1), (H, W, 3), (H, W, 4) or (B, H, W, C) of these C; uint8, uint16
            or floats in [0, 1].
        upscale: output pixels per input pixel, along each axis.

    Raises:
        ImageError: the type, shape, dtype or range is another, a value is not finite, or the result
            would have more than `MAX_OUTPUT_PIXELS` pixels.
    """
    if not isinstance(image, np.ndarray):
        raise ImageError(
            "the input is not an image",
            got=type(image).__name__,
            expected="a numpy array or a Pillow image",
            fix="for a file, call restore_file",
        )
    if image.ndim not in (2, 3, 4) or image.shape[2:][-1:] not in _CHANNELS or 0 in image.shape:
        raise ImageError(
            "arrays of this shape cannot be restored",
            got=str(image.shape),
            expected="(H, W), (H, W, 1), (H, W, 3), (H, W, 4) or (B, H, W, C)",
            fix="move the channels last" if image.ndim > 2 and 3 in image.shape[-3:-2] else None,
        )
    floats = np.issubdtype(image.dtype, np.floating)
    if not floats and image.dtype not in (np.uint8, np.uint16):
        raise ImageError(
            "arrays of this dtype cannot be restored",
            got=str(image.dtype),
            expected="uint8, uint16, or floats in [0, 1]",
        )
    rows_at = 1 if image.ndim == 4 else 0
    height, width = (side * upscale for side in image.shape[rows_at : rows_at + 2])
    if height * width > MAX_OUTPUT_PIXELS:
        raise ImageError(
            f"the result would have {height * width / 1e6:.0f} megapixels",
            expected=f"at most {MAX_OUTPUT_PIXELS / 1e6:.0f}",
            fix="restore parts of the image",
        )
    if not floats:
        return
    low, high = float(image.min()), float(image.max())
    if not np.isfinite([low, high]).all():
        raise ImageError("the array contains values that are not finite")
    if low < 0 or high > 1:
        raise ImageError(
            "the array contains floats outside the range",
            got=f"{low:g} to {high:g}",
            expected="0 to 1",
            fix="divide by 255, or pass uint8" if high > 1.5 else "clip them",
        )


def region_as_float(pixels: NDArray[Any]) -> NDArray[np.float32]:
    """Return uint8, uint16 or float pixels (h, w[, 3]) as float32 RGB (h, w, 3) in [0, 1]."""
    if pixels.dtype == np.uint8:
        scaled = pixels.astype(np.float32) / np.float32(255)
    elif pixels.dtype == np.uint16:
        scaled = pixels.astype(np.float32) / np.float32(65535)
    else:
        scaled = np.clip(pixels.astype(np.float32), 0, 1)
    return np.repeat(scaled[..., None], 3, axis=-1) if scaled.ndim == 2 else scaled


def float_as(image: NDArray[np.float32], dtype: np.dtype[Any], *, gray: bool) -> NDArray[Any]:
    """Return float RGB (h, w, 3), clipped to [0, 1], in a dtype; its luminance (h, w) if `gray`.

    Args:
        image: (h, w, 3) in [0, 1].
        dtype: uint8, uint16 or a float type; integers use their full range.
        gray: whether to return the BT.601 luminance.
    """
    values = np.clip(image @ _LUMA if gray else image, 0, 1)
    if dtype == np.uint8:
        return np.rint(values * 255).astype(np.uint8)
    if dtype == np.uint16:
        return np.rint(values * 65535).astype(np.uint16)
    return values.astype(dtype)


def pad_to(image: NDArray[Any], size: int) -> NDArray[Any]:
    """Extend the bottom and the right by mirroring until each side has at least `size` pixels."""
    padding = [(0, max(0, size - side)) for side in image.shape[:2]] + [(0, 0)] * (image.ndim - 2)
    return np.pad(image, padding, mode="symmetric") if any(p[1] for p in padding) else image


def resize(image: FloatImage, height: int, width: int, method: str) -> FloatImage:
    """Resample an image (H, W, C) in [0, 1] with Pillow's filter `nearest` or `bicubic`."""
    channels = [
        np.asarray(Image.fromarray(image[..., c]).resize((width, height), _FILTERS[method]))
        for c in range(image.shape[2])
    ]
    resized: FloatImage = np.clip(np.stack(channels, axis=-1), 0, 1)
    return resized
