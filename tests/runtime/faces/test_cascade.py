"""How small the faces are that are looked for, by the sizes that the first network is given."""

import itertools
from typing import Any

import numpy as np
import pytest
from PIL import Image

from elir_edge.runtime.faces.cascade import Cascade


class _Blind:
    """A first network that sees nothing, and notes the longer sides of its pictures."""

    def __init__(self) -> None:
        self.longest: list[int] = []

    def run(self, feed: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        (image,) = feed.values()
        self.longest.append(max(image.shape[1:3]))
        return {"softmax": np.zeros((1, 1, 1, 2)), "conv2d_4": np.zeros((1, 1, 1, 4))}


@pytest.mark.parametrize(
    ("width", "height", "smallest"),
    [(400, 300, 20.0), (1600, 900, 20.0), (3200, 900, 40.0), (900, 4000, 50.0)],
)
def test_smallest_faces(width: int, height: int, smallest: float) -> None:
    """20 pixels, or an eightieth of the longer side: they become the 12 that the network sees."""
    cascade: Any = object.__new__(Cascade)
    cascade._first = _Blind()
    assert cascade.find(Image.new("RGB", (width, height))) == []
    sides = cascade._first.longest
    longest = max(width, height)
    assert sides[0] == np.ceil(longest * 12 / smallest)
    # Each level has half the area of the one before, down to where a face fills the picture.
    for before, after in itertools.pairwise(sides):
        assert after == pytest.approx(0.709 * before, abs=1)
    last = min(width, height) * sides[-1] / longest
    assert 12 - 1 <= last < 12 / 0.709 + 1
