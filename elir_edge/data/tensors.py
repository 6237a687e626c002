"""Conversion between images and the networks' tensors."""

import numpy as np
import torch
from torch import Tensor

from elir_edge.data.operations import FloatImage


def to_batch(image: FloatImage, device: str = "cpu") -> Tensor:
    """Return an image (H, W, 3) as a float32 batch of one, (1, 3, H, W), on a device."""
    planes = np.ascontiguousarray(image.transpose(2, 0, 1)[None], dtype=np.float32)
    return torch.from_numpy(planes).to(device)


def to_image(batch: Tensor) -> FloatImage:
    """Return the first image of a batch (B, 3, H, W), clipped to [0, 1], as (H, W, 3)."""
    return np.asarray(batch.clamp(0, 1)[0].permute(1, 2, 0).cpu().numpy())
