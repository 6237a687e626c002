"""Boxes in a picture: squares about them, and the strongest of those that overlap."""

import numpy as np
from numpy.typing import NDArray

Boxes = NDArray[np.float64]
"""(N, 5): left, top, right, bottom in pixels, score."""


def strongest(boxes: Boxes, overlap: float) -> list[int]:
    """Return the indices of boxes that no stronger one overlaps too much, the strongest first.

    Args:
        boxes: (N, 5).
        overlap: area that two boxes may share, as a part of the area that either covers.
    """
    order = np.argsort(-boxes[:, 4], kind="stable")
    areas = np.prod(boxes[:, 2:4] - boxes[:, :2], axis=1)
    kept = []
    while len(order):
        best, rest = order[0], order[1:]
        kept.append(int(best))
        low = np.maximum(boxes[best, :2], boxes[rest, :2])
        high = np.minimum(boxes[best, 2:4], boxes[rest, 2:4])
        shared = np.prod(np.maximum(high - low, 0), axis=1)
        order = rest[shared <= overlap * (areas[best] + areas[rest] - shared)]
    return kept


def moved(boxes: Boxes, offsets: NDArray[np.float32]) -> Boxes:
    """Return boxes (N, 5) with their corners moved by parts (N, 4) of their sides."""
    sides = np.tile(boxes[:, 2:4] - boxes[:, :2], 2)
    return np.column_stack([boxes[:, :4] + offsets * sides, boxes[:, 4]])


def square(boxes: Boxes) -> Boxes:
    """Return squares of the longer sides about the same centres."""
    centre = (boxes[:, :2] + boxes[:, 2:4]) / 2
    half = (boxes[:, 2:4] - boxes[:, :2]).max(axis=1, keepdims=True) / 2
    return np.column_stack([centre - half, centre + half, boxes[:, 4]])
