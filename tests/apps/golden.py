"""Python's tiles, pixels and results, for the tests of the apps in Kotlin and Swift.

`python -m tests.apps.golden` rewrites `tests/golden/apps.json`. The network is a formula that
depends on the place within the tile: tiles laid or blended otherwise give another picture.
"""

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elir_edge.runtime.arrays import FloatImage, resize
from elir_edge.runtime.fitting import Fitting
from elir_edge.runtime.manifest import Processing
from elir_edge.runtime.tiling import plan_axis

GOLDEN = Path(__file__).parents[1] / "golden" / "apps.json"
_SIZE = 32
_AXES = [(40, 40, 8), (41, 40, 8), (100, 32, 8), (97, 32, 11), (45, 4, 1), (63, 16, 4)]
_PLANS: dict[str, tuple[Processing, int, int]] = {
    "same size": (
        Processing(fit="tile", overlap=8, upscale=1, upscale_filter="nearest"),
        75,
        51,
    ),
    "smaller than a tile": (
        Processing(fit="tile", overlap=8, upscale=1, upscale_filter="nearest"),
        13,
        40,
    ),
    "x8 nearest": (Processing(fit="tile", overlap=8, upscale=8, upscale_filter="nearest"), 13, 9),
    "x4 bicubic": (Processing(fit="tile", overlap=8, upscale=4, upscale_filter="bicubic"), 21, 17),
    "face, reduced": (
        Processing(fit="resize", overlap=0, upscale=1, upscale_filter="bicubic"),
        47,
        45,
    ),
    "face, enlarged": (
        Processing(fit="resize", overlap=0, upscale=1, upscale_filter="bicubic"),
        20,
        23,
    ),
}


def altered_golden(path: Path) -> str:
    """Write the golden numbers with one byte of one picture changed by 8, and name the case."""
    values = json.loads(GOLDEN.read_text(encoding="utf-8"))
    fit = values["fits"][3]
    pixels = bytearray(base64.b64decode(fit["restored"]))
    pixels[100] ^= 8
    fit["restored"] = base64.b64encode(pixels).decode("ascii")
    path.write_text(json.dumps(values))
    return str(fit["name"])


def network(image: FloatImage, key: int) -> FloatImage:
    """Return 0.8 of the tile plus a slope across it, in [0, 1]."""
    size = len(image)
    y, x = np.mgrid[:size, :size].astype(np.float32)
    slope = (x + 2 * y) / np.float32(3 * size)
    return np.clip(image * np.float32(0.8) + np.float32(0.2) * slope[..., None], 0, 1)


def picture(width: int, height: int) -> NDArray[np.uint8]:
    """Return smooth areas, edges and texture, (height, width, 3)."""
    y, x = np.mgrid[:height, :width]
    planes = [128 + 100 * np.sin(0.4 * x + 0.2 * y), 3 * y + x, 60 + 150 * (x > y)]
    texture = np.random.default_rng(7).integers(-20, 21, (height, width, 3))
    return np.clip(np.stack(planes, axis=-1) + texture, 0, 255).astype(np.uint8)


def _encoded(pixels: NDArray[np.uint8]) -> str:
    return base64.b64encode(pixels.tobytes()).decode("ascii")


def golden() -> dict[str, Any]:
    """Return all of the file."""
    axes = []
    for length, tile, overlap in _AXES:
        axis = plan_axis(length, tile, overlap)
        weights = [[round(float(w), 7) for w in each] for each in axis.weights]
        case = {"length": length, "tile": tile, "overlap": overlap}
        axes.append({**case, "starts": list(axis.starts), "weights": weights})
    small = picture(7, 5).astype(np.float32) / np.float32(255)
    resizes = []
    for width, height, method in [(28, 20, "bicubic"), (5, 3, "bicubic"), (14, 10, "nearest")]:
        resized = resize(small, height, width, method)
        values = [round(float(value), 7) for value in resized.ravel()]
        resizes.append({"width": width, "height": height, "method": method, "values": values})
    fits = []
    for name, (processing, width, height) in _PLANS.items():
        image = picture(width, height)
        fitting = Fitting(processing=processing, size=_SIZE, whole=False)
        restored = fitting.restore(image, network, None)
        fits.append(
            {
                "name": name,
                "size": _SIZE,
                "processing": vars(processing),
                "width": width,
                "height": height,
                "pixels": _encoded(image),
                "restored": _encoded(restored),
            }
        )
    source = {"width": 7, "height": 5, "pixels": _encoded(picture(7, 5))}
    return {"axes": axes, "resize": {"image": source, "cases": resizes}, "fits": fits}


def text() -> str:
    """Return the file's content."""
    return json.dumps(golden(), indent=1) + "\n"


if __name__ == "__main__":
    GOLDEN.write_text(text(), encoding="utf-8")
