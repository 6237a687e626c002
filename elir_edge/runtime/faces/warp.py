"""Similarity transforms between a photo and an aligned face.

Coordinates are (x, y) in pixels; whole numbers are the centres of pixels. A transform is a matrix
(2, 3): the point p goes to `matrix[:, :2] @ p + matrix[:, 2]`.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from elir_edge.runtime.arrays import FloatImage, region_as_float

Matrix = NDArray[np.float64]
_MARGIN = 4
"""Pixels around what is sampled that the filters may reach."""

_SPARE = 1.25
"""Pixels per pixel of the result that are left by a reduction: its filter takes some of the finest
detail with what it must take."""


def fit_similarity(source: NDArray[Any], target: NDArray[Any]) -> Matrix:
    """Return the rotation, scale and shift that bring points nearest to others.

    The least squares' closed form (Umeyama 1991, "Least-squares estimation of transformation
    parameters between two point patterns"), without reflection.

    Args:
        source: (N, 2), not all the same.
        target: (N, 2).
    """
    from_mean, to_mean = source.mean(axis=0), target.mean(axis=0)
    centred = (source - from_mean).astype(np.float64)
    u, spread, vt = np.linalg.svd((target - to_mean).T @ centred)
    signs = np.array([1.0, np.sign(np.linalg.det(u @ vt))])
    scale = (spread * signs).sum() / (centred**2).sum()
    turn = scale * (u * signs) @ vt
    return np.column_stack([turn, to_mean - turn @ from_mean])


def turn_about(centre: NDArray[Any], degrees: float, scale: float, size: int) -> Matrix:
    """Return the transform that turns about a point, which becomes the middle of a square.

    Args:
        centre: (2,), in the source.
        degrees: from the x axis to the y axis, which is clockwise as pictures are seen.
        scale: pixels of the square per pixel of the source.
        size: side of the square.
    """
    angle = np.deg2rad(degrees)
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.column_stack([turn, (size - 1) / 2 - turn @ centre])


def invert(matrix: Matrix) -> Matrix:
    """Return the way back."""
    turn = np.linalg.inv(matrix[:, :2])
    return np.column_stack([turn, -turn @ matrix[:, 2]])


def chain(first: Matrix, second: Matrix) -> Matrix:
    """Return the transform that does one after the other."""
    turn = second[:, :2] @ first[:, :2]
    return np.column_stack([turn, second[:, :2] @ first[:, 2] + second[:, 2]])


def transform(matrix: Matrix, points: NDArray[Any]) -> NDArray[np.float64]:
    """Return points (N, 2) transformed."""
    moved: NDArray[np.float64] = points @ matrix[:, :2].T + matrix[:, 2]
    return moved


def enlarged(matrix: Matrix, factor: int) -> Matrix:
    """Return the transform to a picture `factor` times as large as the one that it leads to."""
    return np.column_stack([matrix[:, :2] * factor, (matrix[:, 2] + 0.5) * factor - 0.5])


def scale_of(matrix: Matrix) -> float:
    """Return the target's pixels per pixel of the source."""
    return float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))


def box_of(matrix: Matrix, width: int, height: int) -> tuple[int, int, int, int]:
    """Return (left, top, right, bottom), whole pixels that a transformed rectangle covers."""
    corners = np.array([[-0.5, -0.5], [width - 0.5, -0.5], [-0.5, height - 0.5]])
    corners = np.vstack([corners, [[width - 0.5, height - 0.5]]])
    moved = transform(matrix, corners)
    low, high = np.floor(moved.min(axis=0)), np.ceil(moved.max(axis=0)) + 1
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])


def warp(pixels: NDArray[Any], matrix: Matrix, width: int, height: int) -> FloatImage:
    """Return a picture transformed: (height, width, 3) in [0, 1].

    Where the transform reduces, what is finer than a pixel is filtered out first. Beyond its edges
    the picture is mirrored, as the photos that restorers of faces learn from were.

    Args:
        pixels: (H, W) or (H, W, 3), uint8, uint16 or floats in [0, 1].
        matrix: from the picture to the result.
        width: of the result.
        height: of the result.
    """
    back = invert(matrix)
    left, top, right, bottom = box_of(back, width, height)
    left, top, right, bottom = left - _MARGIN, top - _MARGIN, right + _MARGIN, bottom + _MARGIN
    rows = _mirrored(np.arange(top, bottom), pixels.shape[0])
    columns = _mirrored(np.arange(left, right), pixels.shape[1])
    part = region_as_float(pixels[np.ix_(rows, columns)])
    back = np.column_stack([back[:, :2], back[:, 2] - [left, top]])
    # To about the result's scale where that is smaller; then twice as fine: Pillow's bicubic
    # interpolation alone blurs and rings too much to go there and back.
    reduction = min(1.0, _SPARE * scale_of(matrix))
    sides = [2 * max(1, round(side * reduction)) for side in part.shape[:2]]
    factors = np.array([sides[1] / part.shape[1], sides[0] / part.shape[0]])
    if reduction < 1:
        part = _resized(part, sides[0] // 2, sides[1] // 2)
    part = _resized(part, sides[0], sides[1])
    shift = (back[:, 2] + 0.5) * factors - 0.5
    back = np.column_stack([back[:, :2] * factors[:, None], shift])
    # Pillow counts from pixels' corners: the centre of the first is 0.5.
    corner = back[:, 2] + 0.5 - back[:, :2].sum(axis=1) / 2
    data = (*back[0, :2], corner[0], *back[1, :2], corner[1])
    channels = [
        np.asarray(
            Image.fromarray(np.ascontiguousarray(part[..., c])).transform(
                (width, height), Image.Transform.AFFINE, data, Image.Resampling.BICUBIC
            )
        )
        for c in range(3)
    ]
    result: FloatImage = np.clip(np.stack(channels, axis=-1), 0, 1)
    return result


def _resized(part: FloatImage, height: int, width: int) -> FloatImage:
    channels = [
        np.asarray(
            Image.fromarray(np.ascontiguousarray(part[..., c])).resize(
                (width, height), Image.Resampling.LANCZOS
            )
        )
        for c in range(3)
    ]
    return np.stack(channels, axis=-1)


def _mirrored(indices: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    """Return indices with those outside 0 ... length - 1 reflected at the edges."""
    folded = np.mod(indices, 2 * length)
    return np.where(folded < length, folded, 2 * length - 1 - folded)
