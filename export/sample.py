"""The photo for an export's checks and preview: freely licensed, shipped with scikit-image."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from skimage import data
from torch import Tensor

from elir_edge.data.degradations import degrade
from elir_edge.data.operations import FloatImage, resize, to_uint8

_SEED = 0


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A clean photo and its degraded version.

    Attributes:
        clean: the clean photo, (size, size, 3) in [0, 1].
        degraded: the graph's input, (B, 3, size, size) in [0, 1], the same image B times; values
            are multiples of 1/255, so that a PNG file keeps them exactly.
    """

    clean: FloatImage
    degraded: Tensor

    @property
    def degraded_hwc(self) -> FloatImage:
        """The first degraded image as (size, size, 3)."""
        return image_hwc(self.degraded.numpy())


def make_sample(task: str, size: int, batch: int, degradation: str | None = None) -> Sample:
    """Return the portrait of the astronaut Eileen Collins (NASA, public domain), degraded.

    Args:
        task: name of the task whose degradation is applied.
        size: side of the image, in pixels.
        batch: number of copies of the degraded image.
        degradation: name of one of the task's degradations; None: its default.
    """
    photo = np.asarray(data.astronaut()).astype(np.float32) / np.float32(255)
    clean = resize(photo, size, size, "bicubic")
    degraded = to_uint8(degrade(task, clean, np.random.default_rng(_SEED), degradation))
    scaled = degraded.astype(np.float32) / np.float32(255)
    tensor = torch.from_numpy(scaled.transpose(2, 0, 1).copy())[None].repeat(batch, 1, 1, 1)
    return Sample(clean=clean, degraded=tensor)


def image_hwc(batch: NDArray[np.float32]) -> FloatImage:
    """Return the first image of (B, 3, H, W) as (H, W, 3)."""
    return np.ascontiguousarray(batch[0].transpose(1, 2, 0))
