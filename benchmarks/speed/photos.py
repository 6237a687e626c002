"""Degraded photos as files: what a user would hold, as large as the task takes it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from elir_edge.data.datasets import list_images, read_rgb, to_float
from elir_edge.data.degradations import low_resolution
from elir_edge.data.operations import resize, to_uint8

NAMES = ("astronaut", "chelsea", "coins", "brick")
"""Of scikit-image's photos, those that calibration takes neither ranges nor recipes from."""
_SEED = 11
_MAX_ZOOM_OUT = 2.0

Photo = Callable[[], NDArray[np.uint8]]


def write_photos(folder: Path, task: str, size: int, count: int, source: Path | None) -> str:
    """Cut, degrade and write `count` photos as PNG files, and return where they are from.

    Each is another crop, with another draw of the degradation, at the network's size; where the
    task enlarges, the file holds the small photo.

    Args:
        folder: for the files, `000.png` and so on; it is made.
        task: whose degradation.
        size: side of the network's input, in pixels.
        count: how many.
        source: folder of photos, taken in turn; None: scikit-image's.

    Raises:
        DataError: the folder holds no photos, or one cannot be read.
    """
    photos = _default_photos() if source is None else _photos_of(source)
    folder.mkdir(parents=True)
    for i in range(count):
        rng = np.random.default_rng([_SEED, i])
        clean = _crop(photos[i % len(photos)](), size, rng)
        degraded = low_resolution(task, clean, rng)
        Image.fromarray(to_uint8(degraded)).save(folder / f"{i:03d}.png")
    if source is None:
        return f"crops of scikit-image's {', '.join(NAMES)}"
    return f"crops of {min(count, len(photos))} photos of {source.resolve().name}"


def _crop(photo: NDArray[np.uint8], size: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Cut a square of up to twice the size at random and bring it to the size."""
    side = min(*photo.shape[:2], int(size * rng.uniform(1, _MAX_ZOOM_OUT)))
    top, left = (int(rng.integers(0, extent - side + 1)) for extent in photo.shape[:2])
    return resize(to_float(photo[top : top + side, left : left + side]), size, size, "bicubic")


def _photos_of(folder: Path) -> list[Photo]:
    def photo(path: Path) -> Photo:
        return lambda: read_rgb(path)

    return [photo(path) for path in list_images(folder)]


def _default_photos() -> list[Photo]:
    from skimage import data

    def photo(name: str) -> Photo:
        image = np.asarray(getattr(data, name)())
        colour = np.repeat(image[..., None], 3, axis=2) if image.ndim == 2 else image
        return lambda: colour

    return [photo(name) for name in NAMES]
