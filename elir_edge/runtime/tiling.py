"""Cover an image with overlapping tiles and blend them without seams, in bounded memory."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatImage = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Axis:
    """The tiles along one axis.

    Attributes:
        starts: first pixel of each tile, ascending and evenly spread; the last tile ends at the
            axis's end.
        weights: blending weights of each tile, one per pixel; at every pixel of the axis, the
            weights of all tiles add up to 1.
    """

    starts: tuple[int, ...]
    weights: tuple[NDArray[np.float32], ...]


def plan_axis(length: int, tile: int, overlap: int) -> Axis:
    """Cover an axis with tiles whose neighbours share at least `overlap` pixels.

    Neighbours are cross-faded linearly over all pixels that they share.

    Args:
        length: pixels along the axis, at least `tile`.
        tile: pixels of each tile.
        overlap: pixels, less than `tile`.
    """
    count = max(1, math.ceil((length - overlap) / (tile - overlap)))
    if length <= tile:
        count = 1
    starts = [round(i * (length - tile) / max(1, count - 1)) for i in range(count)]
    ramps = []
    for i, start in enumerate(starts):
        ramp = np.ones(tile, dtype=np.float64)
        if i > 0:
            shared = starts[i - 1] + tile - start
            ramp[:shared] = (np.arange(shared) + 0.5) / shared
        if i + 1 < count:
            shared = start + tile - starts[i + 1]
            ramp[tile - shared :] *= (np.arange(shared)[::-1] + 0.5) / shared
        ramps.append(ramp)
    total = np.zeros(length, dtype=np.float64)
    for start, ramp in zip(starts, ramps, strict=True):
        total[start : start + tile] += ramp
    weights = [
        (ramp / total[start : start + tile]).astype(np.float32)
        for start, ramp in zip(starts, ramps, strict=True)
    ]
    return Axis(starts=tuple(starts), weights=tuple(weights))


def blend_tiles(
    rows: Axis,
    columns: Axis,
    width: int,
    scale: int,
    run_tile: Callable[[int, int], FloatImage],
    emit: Callable[[int, FloatImage], None],
) -> None:
    """Run every tile and pass finished rows to `emit`, from top to bottom.

    Only one row of tiles is in memory at a time, so memory grows with the width, not the height.

    Args:
        rows: tiles along the height, in input pixels.
        columns: tiles along the width, in input pixels.
        width: width of the image, in input pixels.
        scale: output pixels per input pixel.
        run_tile: called with (top, left) in input pixels; returns the tile's output,
            (tile * scale, tile * scale, 3).
        emit: called with (top, rows) in output pixels, once for each finished band.
    """
    tile = len(rows.weights[0]) * scale
    # With a large overlap, a thousand tiles add up at a pixel; float32 errors would be visible.
    band = np.zeros((tile, width * scale, 3), dtype=np.float64)
    for i, top in enumerate(rows.starts):
        row_weight = np.repeat(rows.weights[i], scale)[:, None, None]
        for left, weight in zip(columns.starts, columns.weights, strict=True):
            column_weight = np.repeat(weight, scale)[None, :, None]
            region = band[:, left * scale : left * scale + len(weight) * scale]
            region += run_tile(top, left) * row_weight * column_weight
        following = rows.starts[i + 1] if i + 1 < len(rows.starts) else None
        finished = tile if following is None else (following - top) * scale
        emit(top * scale, band[:finished].astype(np.float32))
        band[: tile - finished] = band[finished:].copy()
        band[tile - finished :] = 0
