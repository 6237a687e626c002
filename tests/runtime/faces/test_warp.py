"""Transforms of points and pictures: closed forms and round trips."""

import numpy as np
import pytest
from numpy.typing import NDArray

from elir_edge.runtime.faces.template import TEMPLATE
from elir_edge.runtime.faces.warp import (
    box_of,
    chain,
    enlarged,
    fit_similarity,
    invert,
    scale_of,
    transform,
    turn_about,
    warp,
)


def _known(degrees: float, scale: float, shift: tuple[float, float]) -> NDArray[np.float64]:
    angle = np.deg2rad(degrees)
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.column_stack([turn, shift])


@pytest.mark.parametrize("degrees", [0, 17, 90, -120, 180])
def test_a_similarity_is_found_again(degrees: float) -> None:
    matrix = _known(degrees, 0.37, (40, -12))
    found = fit_similarity(TEMPLATE, transform(matrix, TEMPLATE))
    assert np.abs(found - matrix).max() < 1e-10
    assert np.abs(transform(invert(found), transform(found, TEMPLATE)) - TEMPLATE).max() < 1e-9
    assert scale_of(found) == pytest.approx(0.37)


def test_a_mirrored_face_is_not_mirrored_back() -> None:
    mirrored = TEMPLATE * [-1, 1]
    found = fit_similarity(TEMPLATE, mirrored)
    assert np.linalg.det(found[:, :2]) > 0
    assert np.abs(transform(found, TEMPLATE) - mirrored).max() > 10


def test_chains_and_enlargements() -> None:
    first, second = _known(30, 2, (3, 4)), _known(-70, 0.5, (1, 9))
    both = transform(second, transform(first, TEMPLATE))
    assert np.abs(transform(chain(first, second), TEMPLATE) - both).max() < 1e-9
    # The centre of pixel 0 lies 1.5 pixels from the edge of what is four times as large.
    identity = np.eye(2, 3)
    assert transform(enlarged(identity, 4), np.zeros((1, 2))).tolist() == [[1.5, 1.5]]


def test_a_turn_about_a_point() -> None:
    matrix = turn_about(np.array([10.0, 20.0]), 90, 2, 100)
    assert np.allclose(transform(matrix, np.array([[10.0, 20.0]])), 49.5)
    assert np.allclose(transform(matrix, np.array([[11.0, 20.0]])), [[49.5, 51.5]])
    assert box_of(np.eye(2, 3), 10, 20) == (-1, -1, 11, 21)


def _smooth(height: int, width: int) -> NDArray[np.float32]:
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / 9) * np.cos(y / 7), np.sin(x / 11 + 1), np.cos(y / 13)]
    return (0.5 + 0.3 * np.stack(waves, axis=-1)).astype(np.float32)


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.7])
def test_a_picture_moves_as_its_points_do(scale: float) -> None:
    """Against the closed form of a smooth picture; 0.01 of the range."""
    picture = _smooth(120, 150)
    matrix = _known(25, scale, (20, -10))
    width, height = 60, 50
    moved = warp(picture, matrix, width, height)
    y, x = np.mgrid[:height, :width]
    there = transform(invert(matrix), np.column_stack([x.ravel(), y.ravel()]))
    inside = ((there > 4) & (there < [145, 115])).all(axis=1)
    u, v = there.T
    waves = [np.sin(u / 9) * np.cos(v / 7), np.sin(u / 11 + 1), np.cos(v / 13)]
    expected = 0.5 + 0.3 * np.stack(waves, axis=-1)
    difference = np.abs(moved.reshape(-1, 3) - expected)[inside]
    assert inside.sum() > 100
    assert difference.max() < 0.01
    # The twin: half a pixel of the picture beside it is noticed.
    beside = matrix.copy()
    beside[0, 2] += 0.5 * max(1, scale)
    shifted = warp(picture, beside, width, height)
    assert np.abs(shifted.reshape(-1, 3) - expected)[inside].max() > 0.01


def test_beyond_its_edges_a_picture_is_mirrored() -> None:
    picture = _smooth(40, 40)
    moved = warp(picture, np.column_stack([np.eye(2), [10, 0]]), 40, 40)
    assert np.abs(moved[:, :10] - picture[:, 9::-1]).max() < 0.01
    assert np.abs(moved[:, 10:] - picture[:, :30]).max() < 0.01


def test_what_is_finer_than_a_pixel_is_filtered_out() -> None:
    stripes = np.tile(np.array([0, 1], np.float32), (200, 100))[..., None].repeat(3, axis=2)
    small = warp(stripes, np.column_stack([np.eye(2) / 5, [0, 0]]), 40, 40)
    assert np.abs(small[4:-4, 4:-4] - 0.5).max() < 0.02
