"""A check that a checkpoint restores at all; other checks only compare an export with it."""

import numpy as np

from elir_edge.data.operations import FloatImage
from elir_edge.metrics import psnr
from elir_edge.runtime.manifest import Check
from export.parity import judge
from export.sample import Sample

_BELOW_INPUT = 2.0
"""PSNR in dB by which a restored photo may be worse than the input: generated texture lowers the
PSNR, and for `bsr` the input is a bicubic enlargement, whose PSNR is high."""
_ABOVE_FLAT = 3.0
"""PSNR in dB by which it must beat an image of the photo's mean colour; noise does not."""


def check_plausible(sample: Sample, restored: FloatImage) -> Check:
    """Compare the float32 model's result on the sample photo with the ground truth.

    Args:
        sample: the photo and its degraded version.
        restored: the restored image, (size, size, 3) in [0, 1].

    Returns:
        A check that need not pass, since unfinished weights can be exported too.
    """
    flat = np.broadcast_to(sample.clean.mean(axis=(0, 1)), sample.clean.shape)
    least = max(
        psnr(sample.clean, sample.degraded_hwc) - _BELOW_INPUT,
        psnr(sample.clean, flat) + _ABOVE_FLAT,
    )
    value = psnr(sample.clean, restored)
    return judge("plausibility", "restored", "ground truth", "psnr_db", value, at_least=least)
