"""What the comparison of two processors says, without an emulator."""

import numpy as np
import pytest

from benchmarks.devices.arm64 import compare
from elir_edge.errors import ElirError


def test_comparison_by_hand() -> None:
    image = np.full((2, 2, 3), 100, np.uint8)
    same = compare("a", image, image.copy())
    assert (same.equal, same.largest, same.psnr_db) == (1.0, 0, None)
    other = image.copy()
    other[0, 0, 0] = 112  # of 12 values one differs by 12: mean square 12
    found = compare("a", image, other)
    assert found.equal == pytest.approx(11 / 12)
    assert found.largest == 12
    assert found.psnr_db == pytest.approx(10 * np.log10(255**2 / 12), abs=0.01)


def test_other_kinds_of_images_are_refused() -> None:
    image = np.zeros((2, 2, 3), np.uint8)
    for other in (image[:1], image.astype(np.float32)):
        with pytest.raises(ElirError, match="another kind of image on Arm"):
            compare("a", image, other)
