"""The corner of a noise that serves smaller images."""

import numpy as np
import pytest
import torch

from export.static.noise import corner


@pytest.mark.parametrize(("side", "extent"), [(512, 64), (256, 32), (96, 12)])
def test_the_corner_has_the_latents_side(side: int, extent: int) -> None:
    noise = np.arange(2 * 16 * 64 * 64, dtype=np.float32).reshape(2, 16, 64, 64)
    found = corner(noise, side, 512)
    assert found.shape == (2, 16, extent, extent)
    np.testing.assert_array_equal(found, noise[:, :, :extent, :extent])
    assert torch.equal(corner(torch.from_numpy(noise), side, 512), torch.from_numpy(found.copy()))
