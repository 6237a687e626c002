"""Find faces, turned by any angle, and their five points."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from elir_edge.runtime.closeable import Closeable
from elir_edge.runtime.faces.boxes import strongest
from elir_edge.runtime.faces.cascade import CROP, THRESHOLD, Cascade
from elir_edge.runtime.faces.template import TEMPLATE
from elir_edge.runtime.faces.warp import (
    Matrix,
    box_of,
    chain,
    fit_similarity,
    invert,
    scale_of,
    transform,
    turn_about,
)

_SURE = 0.9
"""Score that a face must have, upright, in the mean of all looks at it."""
_TURNS = (
    None,
    Image.Transpose.ROTATE_90,
    Image.Transpose.ROTATE_180,
    Image.Transpose.ROTATE_270,
)
_SAME = 0.3
"""Overlap of boxes from which two are one face."""
_LOOKS = (
    (0.0, 0.0, 1.0),
    (-0.05, 0.0, 1.0),
    (0.05, 0.0, 1.0),
    (0.0, -0.05, 1.0),
    (0.0, 0.05, 1.0),
    (0.0, 0.0, 1.1),
    (0.0, 0.0, 0.92),
)
"""Shifts of a box to the right and down, as parts of its side, and its scale: a face's points are
the mean of those seen in each."""


@dataclass(frozen=True, kw_only=True)
class Face:
    """A face in a picture.

    Attributes:
        box: left, top, right, bottom, in pixels; a square that may reach over the picture's edge.
        points: (5, 2) of x and y in pixels, whole numbers at their centres: the eyes, the nose,
            the corners of the mouth, each pair from left to right in the upright picture.
        score: 0 to 1.
    """

    box: tuple[float, float, float, float]
    points: NDArray[np.float64]
    score: float

    @property
    def side(self) -> float:
        """Side of the box, in pixels."""
        return self.box[2] - self.box[0]


class FaceFinder(Closeable):
    """Finds faces and their points; a context manager that releases its networks.

    Args:
        threads: CPU threads of the runtime; None: its default.

    Raises:
        BackendError: the package with the networks is missing, or holds other networks.
    """

    def __init__(self, *, threads: int | None = None) -> None:
        self._cascade = Cascade(threads)

    def close(self) -> None:
        """Release the runtime."""
        self._cascade.close()

    def find(self, image: NDArray[np.uint8]) -> tuple[Face, ...]:
        """Return the faces of a picture, turned by any angle, the largest first.

        Args:
            image: (H, W, 3), RGB, upright.
        """
        picture = Image.fromarray(image)
        found = []
        for turn in _TURNS:
            turned = picture if turn is None else picture.transpose(turn)
            for box, points in self._cascade.find(turned):
                found.append(_turned_back(box, points, turn, picture.size))
        once = _distinct(self._look_again(picture, *each, _LOOKS[:1]) for each in found)
        faces = _distinct(
            self._look_again(picture, np.array(face.box), face.points, _LOOKS) for face in once
        )
        sure = [face for face in faces if face.score >= _SURE]
        return tuple(sorted(sure, key=lambda face: -face.side))

    def _look_again(
        self,
        picture: Image.Image,
        box: NDArray[np.float64],
        points: NDArray[np.float64],
        shifts: Sequence[tuple[float, float, float]],
    ) -> Face | None:
        """Look at a face turned upright, once or several times; None where it is none.

        The networks learned upright faces: turned by the angle of the points found first, a face
        scores higher and its points are nearer; what is no face scores lower.
        """
        side, centre = box[2] - box[0], (box[:2] + box[2:]) / 2 - 0.5
        # Upright, with room around it, and small: the looks are cut from this.
        upright = turn_about(centre, -_tilt(points), 2 * CROP / side, 4 * CROP)
        near = _cut(picture, upright, 4 * CROP)
        looks = [_look(*shift) for shift in shifts]
        crops = np.stack([np.asarray(_cut(near, look, CROP)) for look in looks])
        offsets, seen, scores = self._cascade.look(crops)
        if scores.mean() < THRESHOLD:
            return None
        backs = [invert(chain(upright, look)) for look in looks]
        points = np.mean(
            [transform(m, p * CROP - 0.5) for m, p in zip(backs, seen, strict=True)], axis=0
        )
        # The first look's box, in its own square, moved as the network says.
        low, high = offsets[0, :2] * CROP, (1 + offsets[0, 2:]) * CROP
        middle = transform(backs[0], ((low + high) / 2 - 0.5)[None])[0] + 0.5
        half = float((high - low).max()) / CROP * side / 2
        left, top, right, bottom = (float(v) for v in (*(middle - half), *(middle + half)))
        return Face(box=(left, top, right, bottom), points=points, score=float(scores.mean()))


def _distinct(found: Iterable[Face | None]) -> list[Face]:
    """Return the faces that no surer one overlaps."""
    faces = [face for face in found if face is not None]
    boxes = np.array([[*face.box, face.score] for face in faces]).reshape(-1, 5)
    return [faces[i] for i in strongest(boxes, _SAME)]


def _cut(picture: Image.Image, matrix: Matrix, size: int) -> Image.Image:
    """Return a square of a picture, transformed; beyond the picture is black.

    As `warp` in bytes: rougher, and several times as fast.
    """
    back = invert(matrix)
    box = box_of(back, size, size)
    part = picture.crop(box)
    reduction = max(1, int(1 / scale_of(matrix)))
    corner = back[:, 2] + 0.5 - back[:, :2].sum(axis=1) / 2 - box[:2]
    if reduction > 1:
        part = part.reduce(reduction)
    a, b, c, d = (back[:, :2] / reduction).ravel()
    data = (a, b, corner[0] / reduction, c, d, corner[1] / reduction)
    return part.transform(
        (size, size), Image.Transform.AFFINE, data, Image.Resampling.BICUBIC, fillcolor=0
    )


def _look(right: float, down: float, scale: float) -> Matrix:
    """Return the transform from a face with room around it to what is looked at."""
    middle = np.array([right, down]) * 2 * CROP + (4 * CROP - 1) / 2
    return turn_about(middle, 0, 0.5 / scale, CROP)


def _turned_back(
    box: NDArray[np.float64],
    points: NDArray[np.float64],
    turn: Image.Transpose | None,
    size: tuple[int, int],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return a box and points in the picture before it was turned; `size` is its own."""
    if turn is None:
        return box, points
    width, height = size
    # Of a pixel's corner: x, y in the turned picture to x, y in the upright one.
    turns = {
        Image.Transpose.ROTATE_90: (np.array([[0, -1], [1, 0]]), (width, 0)),
        Image.Transpose.ROTATE_180: (np.array([[-1, 0], [0, -1]]), (width, height)),
        Image.Transpose.ROTATE_270: (np.array([[0, 1], [-1, 0]]), (0, height)),
    }
    matrix, shift = turns[turn]
    corners = box.reshape(2, 2) @ matrix.T + shift
    back = (points + 0.5) @ matrix.T + shift - 0.5
    return np.concatenate([corners.min(axis=0), corners.max(axis=0)]), back


def _tilt(points: NDArray[np.float64]) -> float:
    """Return by how many degrees a face is turned, clockwise."""
    turn = fit_similarity(TEMPLATE, points)
    return float(np.rad2deg(np.arctan2(turn[1, 0], turn[0, 0])))
