"""Check whether an image looks like those that a model was trained to restore."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elir_edge.runtime.arrays import region_as_float
from elir_edge.runtime.images import Picture
from elir_edge.tasks import Range, TrainedRange

_BLOCK = 32
_EXAMINED_SIDE = 1024
"""Side of the central part that is examined, in pixels."""
_GAUSSIAN_MAD = 0.6745
_QUARTER = 25
_BELOW, _ABOVE = 0.6, 1.5
"""Factors by which an estimate must lie outside the range, since its error is up to a third."""
_CLEAN = 5.0
"""The noise estimates of photos without noise are rarely higher (sigma, of 255)."""
_BLOCKY = 40.0
"""JPEG compression below this quality shows blocks."""
_SHRUNK = 1.25


@dataclass(frozen=True, kw_only=True)
class Remark:
    """A remark about one image.

    Attributes:
        kind: subject of the remark: `clean`, `noisy`, `missing`, `jpeg`, `size`, or `file`.
        text: one sentence, without a full stop.
    """

    kind: str
    text: str


def estimate_noise(image: NDArray[Any]) -> float:
    """Estimate the standard deviation of white noise in an image, of 255.

    In blocks of 32 pixels, the estimate is the median of the finest diagonal Haar coefficients
    divided by 0.6745 (Donoho and Johnstone 1994, "Ideal spatial adaptation by wavelet shrinkage").
    Texture can only increase it, so the result is the lower quartile of all blocks. Strong noise is
    underestimated because it is clipped at black and white: 90 is estimated as about 67.

    Args:
        image: (H, W) or (H, W, 3), uint8, uint16 or floats in [0, 1].

    Returns:
        The estimate; 0 if a side is shorter than 2 pixels.
    """
    height, width = image.shape[:2]
    top, left = max(0, height - _EXAMINED_SIDE) // 2, max(0, width - _EXAMINED_SIDE) // 2
    part = region_as_float(image[top : top + _EXAMINED_SIDE, left : left + _EXAMINED_SIDE])
    part = part[: len(part) // 2 * 2, : part.shape[1] // 2 * 2]
    if part.size == 0:
        return 0.0
    diagonal = (part[0::2, 0::2] - part[0::2, 1::2] - part[1::2, 0::2] + part[1::2, 1::2]) / 2
    # Whole blocks, or one smaller one along an axis that has none.
    rows, columns = (min(_BLOCK // 2, extent) for extent in diagonal.shape[:2])
    down, across = diagonal.shape[0] // rows, diagonal.shape[1] // columns
    whole = np.abs(diagonal[: down * rows, : across * columns])
    blocks = whole.reshape(down, rows, across, columns, 3)
    spreads = np.median(blocks, axis=(1, 3)).mean(axis=-1)
    return float(np.percentile(spreads, _QUARTER)) / _GAUSSIAN_MAD * 255


def share_missing(image: NDArray[Any]) -> float:
    """Return the fraction of pixels that are black in all channels, as missing pixels are."""
    black = image == 0
    return float((black if image.ndim == 2 else black.all(axis=2)).mean())


def training_remarks(
    picture: Picture, trained: TrainedRange, *, side: int | None = None, masked: bool = False
) -> tuple[Remark, ...]:
    """Return remarks on how a picture differs from those that a model was trained to restore.

    Args:
        picture: the picture as it was read.
        trained: the manifest's `source.trained_range`.
        side: side of the square that the whole picture is resized to, in pixels; None: the picture
            is restored in tiles.
        masked: whether a mask or transparency marks the missing pixels.
    """
    found = [_jpeg_remark(picture.jpeg_quality, trained.jpeg_quality)]
    if side is not None:
        found.append(_size_remark(max(picture.pixels.shape[:2]), side))
    if min(picture.pixels.shape[:2]) < _BLOCK:
        return tuple(remark for remark in found if remark is not None)  # too small to tell
    if trained.missing is None:
        found.append(_noise_remark(estimate_noise(picture.pixels), trained.noise_sigma))
    elif not masked:
        found.append(_missing_remark(picture.pixels, trained.missing))
    return tuple(remark for remark in found if remark is not None)


def _missing_remark(image: NDArray[Any], trained: Range) -> Remark | None:
    share = share_missing(image)
    # Noise brightens missing pixels, so that a noisy picture may have any number of them.
    if share >= trained[0] * _BELOW or estimate_noise(image) > _CLEAN:
        return None
    black = f"{share:.1%} of this photo is black" if share else "nothing in this photo is black"
    return Remark(
        kind="missing",
        text=f"{black}; this model was trained on {_percent(trained)} missing pixels: "
        "mark missing pixels in white in a mask (--mask), or make them transparent",
    )


def _noise_remark(sigma: float, trained: Range | None) -> Remark | None:
    if trained is None:
        return None
    low, high = trained
    learned = f"what this model restores ({_span(trained)})"
    if sigma < low * _BELOW:
        return Remark(
            kind="clean",
            text=f"this photo looks cleaner (sigma {sigma:.0f}) than {learned}: detail may be lost",
        )
    if sigma > high * _ABOVE:
        return Remark(
            kind="noisy",
            text=f"this photo looks noisier (sigma {sigma:.0f}) than {learned}: noise may be left",
        )
    return None


def _jpeg_remark(quality: float | None, trained: Range | None) -> Remark | None:
    lowest = _BLOCKY if trained is None else trained[0] * _BELOW
    if quality is None or quality >= lowest:
        return None
    learned = "without JPEG" if trained is None else f"on quality {_span(trained)}"
    return Remark(
        kind="jpeg",
        text=f"this photo is a JPEG of quality about {quality:.0f}; this model was trained "
        f"{learned}: blocks may be left",
    )


def _size_remark(longest: int, side: int) -> Remark | None:
    if longest <= side * _SHRUNK:
        return None
    return Remark(
        kind="size",
        text=f"this photo is reduced from {longest} to {side} pixels and enlarged again: "
        "detail is lost",
    )


def _span(bounds: Range) -> str:
    low, high = bounds
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"


def _percent(bounds: Range) -> str:
    low, high = bounds
    return f"{low:.0%}" if low == high else f"{low:.0%} to {high:.0%}"
