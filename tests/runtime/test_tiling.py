"""Tiles cover every pixel, their weights add to 1, and no seam shows."""

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from elir_edge.runtime.tiling import Axis, FloatImage, blend_tiles, plan_axis

TOLERANCE = 1e-6
"""Of weights and blended values in [0, 1]: a few roundings of float32."""


@st.composite
def _axes(draw: st.DrawFn, max_tiles: int = 40) -> tuple[int, int, int]:
    """Draw (length, tile, overlap)."""
    tile = draw(st.integers(1, 70))
    overlap = draw(st.integers(0, tile - 1))
    longest = min(400, tile + max_tiles * (tile - overlap))
    return draw(st.integers(tile, longest)), tile, overlap


def _total(axis: Axis, length: int) -> NDArray[np.float64]:
    total = np.zeros(length)
    for start, weights in zip(axis.starts, axis.weights, strict=True):
        total[start : start + len(weights)] += weights
    return total


@settings(deadline=None, max_examples=200)
@given(_axes())
def test_weights_add_to_one_everywhere(sizes: tuple[int, int, int]) -> None:
    length, tile, overlap = sizes
    axis = plan_axis(length, tile, overlap)
    assert abs(_total(axis, length) - 1).max() <= TOLERANCE
    assert all(len(weights) == tile for weights in axis.weights)
    assert all((weights > 0).all() for weights in axis.weights)


@settings(deadline=None, max_examples=200)
@given(_axes())
def test_starts_cover_the_axis(sizes: tuple[int, int, int]) -> None:
    length, tile, overlap = sizes
    starts = plan_axis(length, tile, overlap).starts
    assert starts[0] == 0
    assert starts[-1] == length - tile
    for before, after in itertools.pairwise(starts):
        assert before < after
        assert before + tile - after >= overlap


def test_no_more_tiles_than_needed() -> None:
    assert plan_axis(64, 64, 16).starts == (0,)
    assert plan_axis(65, 64, 16).starts == (0, 1)
    assert plan_axis(112, 64, 16).starts == (0, 48)
    assert plan_axis(113, 64, 16).starts == (0, 24, 49)


def test_tampered_weights_do_not_add_to_one() -> None:
    """The twin: one weight that is off by a thousandth is noticed."""
    axis = plan_axis(100, 40, 10)
    axis.weights[1][20] += 1e-3
    assert abs(_total(axis, 100) - 1).max() > 100 * TOLERANCE


def _blend_identity(
    image: FloatImage, rows: Axis, columns: Axis, scale: int
) -> tuple[FloatImage, list[tuple[int, int]]]:
    """Blend tiles that show the image itself, each pixel repeated `scale` times."""
    height, width = image.shape[:2]
    blended = np.full((height * scale, width * scale, 3), np.nan, dtype=np.float32)
    bands = []
    tile_rows, tile_columns = len(rows.weights[0]), len(columns.weights[0])

    def run_tile(top: int, left: int) -> FloatImage:
        region = image[top : top + tile_rows, left : left + tile_columns]
        return region.repeat(scale, axis=0).repeat(scale, axis=1)

    def emit(top: int, band: FloatImage) -> None:
        blended[top : top + len(band)] = band
        bands.append((top, len(band)))

    blend_tiles(rows, columns, width, scale, run_tile, emit)
    return blended, bands


@settings(deadline=None, max_examples=60)
@given(_axes(max_tiles=5), st.integers(0, 60), st.sampled_from([1, 2]), st.integers(0, 99))
@example((35, 32, 31), 47, 1, 1)
def test_the_image_is_reproduced(
    sizes: tuple[int, int, int], wider: int, scale: int, seed: int
) -> None:
    height, tile, overlap = sizes
    width = tile + wider
    image = np.random.default_rng(seed).random((height, width, 3), dtype=np.float32)
    rows, columns = plan_axis(height, tile, overlap), plan_axis(width, tile, overlap)
    blended, bands = _blend_identity(image, rows, columns, scale)
    expected = image.repeat(scale, axis=0).repeat(scale, axis=1)
    assert abs(blended - expected).max() <= TOLERANCE
    # Finished bands follow one another from the top to the bottom.
    next_row = 0
    for top, count in bands:
        assert top == next_row
        next_row += count
    assert next_row == height * scale
    assert len(bands) == len(rows.starts)


@pytest.mark.parametrize("scale", [1, 2])
def test_tampered_weights_do_not_reproduce_the_image(scale: int) -> None:
    image = np.random.default_rng(0).random((50, 60, 3), dtype=np.float32)
    rows, columns = plan_axis(50, 20, 5), plan_axis(60, 20, 5)
    uneven = tuple(weights * np.float32(1.001) for weights in columns.weights)
    columns = dataclasses.replace(columns, weights=uneven)
    blended, _ = _blend_identity(image, rows, columns, scale)
    expected = image.repeat(scale, axis=0).repeat(scale, axis=1)
    assert abs(blended - expected).max() > 100 * TOLERANCE


def _largest_step(image: FloatImage) -> float:
    return max(float(abs(np.diff(image, axis=axis)).max()) for axis in (0, 1))


def test_tiles_that_disagree_leave_no_seam() -> None:
    """A constant added per tile fades over the overlap; pasted hard it would be a step."""
    size, tile, overlap = 96, 40, 20
    rows = columns = plan_axis(size, tile, overlap)
    offsets = {
        (top, left): np.float32((i + j) % 2)
        for i, top in enumerate(rows.starts)
        for j, left in enumerate(columns.starts)
    }
    blended = np.empty((size, size, 3), dtype=np.float32)
    pasted = np.empty_like(blended)

    def run_tile(top: int, left: int) -> FloatImage:
        flat = np.full((tile, tile, 3), offsets[top, left], dtype=np.float32)
        pasted[top : top + tile, left : left + tile] = flat
        return flat

    def emit(top: int, band: FloatImage) -> None:
        blended[top : top + len(band)] = band

    blend_tiles(rows, columns, size, 1, run_tile, emit)
    # Neighbours are cross-faded over `overlap` pixels or more: 1/overlap per pixel, and a little
    # more where the fades of a tile's two sides meet.
    assert _largest_step(blended) <= 1.5 / overlap
    assert _largest_step(pasted) == 1
