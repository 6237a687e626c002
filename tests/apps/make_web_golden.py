"""What the Python runtime computes, for the browser app's unit tests to compare with.

`python -m tests.apps.make_web_golden` rewrites apps/web/test/golden.json; a test fails where it is
not what the runtime computes now.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elir_edge.runtime.arrays import pad_to, region_as_float, resize
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


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(results()) + "\n", encoding="ascii")
    print(f"wrote {GOLDEN}")
