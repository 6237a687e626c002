"""Pictures with faces at known places."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from elir_edge.runtime.faces.template import SIDE, TEMPLATE


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where an aligned face is pasted: its centre, its side in pixels, its clockwise turn."""

    centre: tuple[int, int]
    side: int
    degrees: float

    def points(self) -> NDArray[np.float64]:
        """Return the face's five points in the picture, (5, 2)."""
        angle = np.deg2rad(self.degrees)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        centred = (TEMPLATE + 0.5) / SIDE - 0.5
        moved: NDArray[np.float64] = centred * self.side @ turn.T + self.centre
        return moved - 0.5


def paste_faces(
    size: tuple[int, int], files: Sequence[Path], places: Sequence[Place]
) -> NDArray[np.uint8]:
    """Return a gray picture of (width, height) with aligned faces pasted at places."""
    picture = Image.new("RGB", size, (110, 115, 120))
    for path, place in zip(files, places, strict=True):
        face = Image.open(path).convert("RGB").resize((place.side, place.side))
        opaque = Image.new("L", face.size, 255)
        turned, where = (
            each.rotate(-place.degrees, Image.Resampling.BICUBIC, expand=True)
            for each in (face, opaque)
        )
        corner = [c - extent // 2 for c, extent in zip(place.centre, turned.size, strict=True)]
        picture.paste(turned, (corner[0], corner[1]), where)
    return np.asarray(picture)
