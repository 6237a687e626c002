"""What the Python runtime computes, for the browser app's unit tests to compare with.

`python -m tests.apps.make_web_golden` rewrites apps/web/test/golden.json; a test fails where it is
not what the runtime computes now.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from elir_edge.runtime.arrays import pad_to, region_as_float, resize
from elir_edge.runtime.faces import Face, FaceFinder, boxes, finder, restore_faces, template, warp
from elir_edge.runtime.faces.cascade import Cascade
from elir_edge.runtime.fitting import Fitting
from elir_edge.runtime.inputs import estimate_noise, share_missing
from elir_edge.runtime.manifest import Processing
from elir_edge.runtime.tiling import FloatImage, plan_axis

GOLDEN = Path(__file__).parents[2] / "apps" / "web" / "test" / "golden.json"
_DIGITS = 7
_AXES = [(64, 64, 16), (65, 64, 16), (100, 64, 16), (129, 64, 0), (150, 40, 30), (301, 64, 16)]
# A scale of whole numbers and others, up and down, and sides that stay.
_SIZES = [(20, 28, "bicubic"), (3, 4, "bicubic"), (5, 16, "bicubic"), (40, 56, "nearest")]
_FITS: list[dict[str, Any]] = [
    {"height": 40, "width": 70, "size": 32, "fit": "tile", "overlap": 8, "upscale": 1},
    {"height": 9, "width": 50, "size": 32, "fit": "tile", "overlap": 8, "upscale": 1},
    {"height": 21, "width": 30, "size": 64, "fit": "tile", "overlap": 16, "upscale": 4},
    {"height": 13, "width": 9, "size": 64, "fit": "tile", "overlap": 16, "upscale": 8},
    {"height": 37, "width": 40, "size": 32, "fit": "resize", "overlap": 8, "upscale": 1},
    {"height": 10, "width": 24, "size": 32, "fit": "resize", "overlap": 8, "upscale": 1},
]


def picture(height: int, width: int, channels: int) -> NDArray[np.uint8]:
    """Return (height, width, channels) of a formula that the browser's tests have, too."""
    y, x, c = np.mgrid[:height, :width, :channels]
    return ((7 * x + 13 * y + 29 * c + x * y) % 256).astype(np.uint8)


def network(image: FloatImage, key: int) -> FloatImage:
    """Stand in for the graph: darker to the right, brighter with every tile."""
    ramp = (np.arange(image.shape[1], dtype=np.float32) / np.float32(image.shape[1]))[:, None]
    step = np.float32(key % 3) * np.float32(0.0625)
    mixed: FloatImage = np.clip(
        image * np.float32(0.5) + ramp * np.float32(0.25) + step, 0, 1
    ).astype(np.float32)
    return mixed


def results() -> dict[str, Any]:
    """Return all recorded results."""
    small = region_as_float(picture(5, 7, 3))
    return {
        "axes": [
            {"length": length, "tile": tile, "overlap": overlap} | _axis(length, tile, overlap)
            for length, tile, overlap in _AXES
        ],
        "sizes": [
            {"height": height, "width": width, "method": method}
            | {"values": _listed(resize(small, height, width, method))}
            for height, width, method in _SIZES
        ],
        "padded": pad_to(picture(3, 2, 3), 7).ravel().tolist(),
        "fits": [
            fit | {"gray": gray, "filter": _filter(fit), "bytes": _fitted(fit, gray=gray)}
            for fit in _FITS
            for gray in (False, True)
        ],
        "noise": [
            {"height": height, "width": width}
            | {"sigma": round(estimate_noise(picture(height, width, 3)), _DIGITS)}
            for height, width in ((70, 45), (33, 90), (20, 24))
        ],
        "missing": share_missing(
            np.where(picture(30, 30, 3) < 90, np.uint8(0), picture(30, 30, 3))
        ),
        "faces": {
            "transforms": [_transforms(matrix) for matrix in _MATRICES],
            "similarities": [_similarity(points) for points in _POINTS],
            "mask": _listed(template.mask_at(*np.array(_MASK_AT, float).T)),
            "resized": [_resized_bytes(*each) for each in _BYTE_SIZES],
            "reduced": [_reduced(factor) for factor in (2, 3, 5)],
            "cut": [_cut(matrix) for matrix in _MATRICES],
            "warped": [_warped(matrix) for matrix in _MATRICES],
            "boxes": _boxes(),
            "found": _found(),
            "pasted": [_pasted(gray=gray, factor=factor) for gray, factor in _PASTES],
        },
    }


def _axis(length: int, tile: int, overlap: int) -> dict[str, Any]:
    axis = plan_axis(length, tile, overlap)
    return {"starts": list(axis.starts), "weights": [_listed(w) for w in axis.weights]}


def _filter(fit: dict[str, Any]) -> str:
    return "nearest" if fit["upscale"] == 8 else "bicubic"


def _fitted(fit: dict[str, Any], *, gray: bool) -> str:
    image = picture(fit["height"], fit["width"], 3)
    processing = Processing(
        fit=fit["fit"],
        overlap=fit["overlap"],
        upscale=fit["upscale"],
        upscale_filter="nearest" if fit["upscale"] == 8 else "bicubic",
    )
    fitting = Fitting(processing=processing, size=fit["size"], whole=True)
    restored = fitting.restore(image[..., 0] if gray else image, network, None)
    hexadecimal: str = restored.tobytes().hex()
    return hexadecimal


def _listed(values: NDArray[np.float32]) -> list[float]:
    return [round(float(value), _DIGITS) for value in values.ravel()]


# Reducing by more than two, enlarging and turning, and reaching over the edges.
_MATRICES = [
    np.array([[0.21, 0.13, -1.5], [-0.13, 0.21, 6.25]]),
    np.array([[1.71, -0.43, 3.1], [0.43, 1.71, -11.3]]),
    np.array([[-0.6, 0.0, 14.0], [0.0, -0.6, 21.5]]),
]
_POINTS = [
    [[30.0, 41.0], [52.5, 38.0], [44.0, 55.0], [37.0, 67.0], [55.0, 64.0]],
    [[90.0, 10.0], [90.0, 60.0], [60.0, 35.0], [40.0, 15.0], [40.0, 55.0]],
    [[318.0, 240.0], [192.0, 239.0], [256.0, 314.0], [313.0, 371.0], [201.0, 371.0]],
]
_MASK_AT = [(256, 275), (256, 40), (256, 60), (80, 275), (400.5, 400.25), (0, 0)]
_BYTE_SIZES = [(9, 7, "box"), (24, 33, "bilinear"), (40, 5, "box"), (23, 31, "bilinear")]
_PASTES = [(False, 1), (True, 1), (False, 4)]
_SQUARE = 12


def _transforms(matrix: NDArray[np.float64]) -> dict[str, Any]:
    turn = warp.turn_about(matrix[:, 2], 33, 0.7, 48)
    return {
        "matrix": _exact(matrix),
        "inverse": _exact(warp.invert(matrix)),
        "turn": _exact(turn),
        "chained": _exact(warp.chain(matrix, turn)),
        "enlarged": _exact(warp.enlarged(matrix, 4)),
        "scale": warp.scale_of(matrix),
        "box": list(warp.box_of(matrix, 20, 30)),
    }


def _similarity(points: list[list[float]]) -> dict[str, Any]:
    fitted = warp.fit_similarity(np.array(points), template.TEMPLATE)
    return {"points": points, "matrix": _exact(fitted), "tilt": finder._tilt(np.array(points))}


def _resized_bytes(width: int, height: int, name: str) -> dict[str, Any]:
    small = Image.fromarray(picture(31, 23, 3))
    sized = small.resize((width, height), Image.Resampling[name.upper()])
    return {"width": width, "height": height, "filter": name, "bytes": sized.tobytes().hex()}


def _reduced(factor: int) -> dict[str, Any]:
    reduced = Image.fromarray(picture(31, 23, 3)).reduce(factor)
    return {"factor": factor, "bytes": reduced.tobytes().hex()}


def _cut(matrix: NDArray[np.float64]) -> str:
    cut = finder._cut(Image.fromarray(picture(31, 23, 3)), matrix, _SQUARE)
    return cut.tobytes().hex()


def _warped(matrix: NDArray[np.float64]) -> list[float]:
    return _listed(warp.warp(picture(31, 23, 3), matrix, 10, 8))


def _boxes() -> dict[str, Any]:
    random = np.random.default_rng(5)
    corners = random.uniform(0, 60, (40, 2))
    found = np.column_stack([corners, corners + random.uniform(10, 40, (40, 2))])
    scored = np.column_stack([found, np.round(random.uniform(0, 1, 40), 1)])  # with ties
    offsets = random.uniform(-0.2, 0.2, (40, 4)).astype(np.float32)
    return {
        "scored": scored.tolist(),
        "offsets": offsets.tolist(),
        "strongest": [boxes.strongest(scored, overlap) for overlap in (0.1, 0.3, 0.7)],
        "moved": boxes.square(boxes.moved(scored, offsets)).tolist(),
    }


class _Stub:
    """Stands in for the networks: a face is a bright disc."""

    def run(self, inputs: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
        ((name, images),) = inputs.items()
        return {"input_1": self._propose, "input_2": self._refine, "input_3": self._place}[name](
            images[..., 0]
        )

    def _propose(self, red: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        columns, rows = (-(-(side - 2) // 2) - 4 for side in red.shape[1:])
        centres = red[:, 6 : 6 + 2 * columns : 2, 6 : 6 + 2 * rows : 2]
        scores = np.float32(0.25) + centres / np.float32(2)
        offsets = np.stack([centres, -centres, centres / 2, centres], axis=-1) / np.float32(16)
        return {"softmax": np.stack([1 - scores, scores], axis=-1), "conv2d_4": offsets}

    def _scores(self, red: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return (N, 2): high where a square's corners are dark and its content is bright."""
        side = red.shape[1]
        near, far = side // 4, side - 1 - side // 4
        inside = sum(red[:, x, y] for x in (near, far) for y in (near, far))
        corners = sum(red[:, x, y] for x in (0, side - 1) for y in (0, side - 1))
        scores = np.minimum(1, np.float32(0.25) + (inside - corners) / np.float32(8))
        return np.stack([1 - scores, scores], axis=-1)

    def _refine(self, red: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        offsets = red[:, [2, 5, 20, 12], [3, 18, 7, 12]] / np.float32(16)
        return {"softmax_1": self._scores(red), "dense_2": offsets}

    def _place(self, red: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        offsets = red[:, [4, 9, 40, 24], [6, 36, 13, 24]] / np.float32(32)
        points = np.array([20, 44, 32, 22, 42, 26, 26, 36, 46, 46], np.float32) / np.float32(64)
        moved = points + red[:, 3:43:4, 24] / np.float32(64)
        return {"softmax_2": self._scores(red), "dense_5": offsets, "dense_6": moved}


def discs(height: int, width: int) -> NDArray[np.uint8]:
    """Return a dark picture (height, width, 3) with three bright discs, one of them cut off."""
    y, x, c = np.mgrid[:height, :width, :3]
    image = (20 + (3 * x + 5 * y + 7 * c) % 24).astype(np.uint8)
    for centre_x, centre_y, radius in ((60, 70, 34), (150, 50, 20), (5, 150, 25)):
        inside = (x - centre_x) ** 2 + (y - centre_y) ** 2 <= radius**2
        image = np.where(inside, image + np.uint8(190), image)
    return image


def _found() -> list[dict[str, Any]]:
    """Return what the cascade finds where its networks are stubs."""
    searching = object.__new__(FaceFinder)
    stub: Any = _Stub()
    searching._cascade = object.__new__(Cascade)
    networks = searching._cascade
    networks._first = networks._second = networks._third = stub
    return [
        {"box": list(face.box), "points": face.points.tolist(), "score": face.score}
        for face in searching.find(discs(180, 220))
    ]


class _Known:
    """Finds faces at the places where the browser's test has them."""

    def find(self, image: NDArray[np.uint8]) -> tuple[Face, ...]:
        large, small, tiny = (
            Face(box=(0, 0, side, side), points=points, score=1)
            for side, points in (
                (40, template.TEMPLATE / 9.17 + [3.23, -6.31]),
                (33, template.TEMPLATE / 16.29 + [40.37, 22.41]),
                (31, template.TEMPLATE / 10),
            )
        )
        return large, small, tiny


class _Model:
    """Restores faces by the stand-in for the graph, and a background by nearest pixels."""

    upscale = 4

    def restore(self, image: NDArray[Any]) -> NDArray[Any]:
        if image.dtype == np.uint8:
            return image.repeat(4, axis=0).repeat(4, axis=1)
        return network(image, 1)


def _pasted(*, gray: bool, factor: int) -> dict[str, Any]:
    image = picture(60, 80, 3)
    model: Any = _Model()
    result = restore_faces(
        image[..., 0] if gray else image,
        model,
        _Known(),
        background=None if factor == 1 else model,
    )
    # Of the larger picture, what differs between neighbours is enough.
    shown = result.image[::factor, ::factor]
    return {"gray": gray, "factor": factor, "bytes": shown.tobytes().hex()}


def _exact(matrix: NDArray[np.float64]) -> list[float]:
    return [float(value) for value in matrix.ravel()]


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(results()) + "\n", encoding="ascii")
    print(f"wrote {GOLDEN}")
