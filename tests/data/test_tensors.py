"""Conversion between images and tensors."""

import numpy as np
import torch

from elir_edge.data.tensors import to_batch, to_image


def test_layouts() -> None:
    image = np.arange(24, dtype=np.float32).reshape(2, 4, 3) / 24
    batch = to_batch(image)
    assert batch.shape == (1, 3, 2, 4)
    assert batch.dtype == torch.float32
    assert batch[0, 2, 1, 3] == image[1, 3, 2]
    np.testing.assert_array_equal(to_image(batch), image)


def test_the_first_image_is_clipped() -> None:
    batch = torch.stack([torch.full((3, 2, 5), -0.5), torch.zeros(3, 2, 5)])
    batch[0, 0] = 1.5
    image = to_image(batch)
    assert image.shape == (2, 5, 3)
    assert (image[..., 0] == 1).all()
    assert (image[..., 1:] == 0).all()
