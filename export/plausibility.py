"""Does a checkpoint restore at all? All other checks compare an export with its own checkpoint."""

import numpy as np

from elir_edge.data.operations import FloatImage
from elir_edge.metrics import psnr
from elir_edge.runtime.manifest import Check
from export.parity import judge
from export.sample import Sample

_BELOW_INPUT = 2.0
"""dB that a restored photo may have less than the input: texture that is not the photo's own costs
some, and for `bsr` the input is a bicubic enlargement, which has much."""
_ABOVE_FLAT = 3.0
"""dB that it has to have more than one flat colour, the photo's mean: noise has less."""


def check_plausible(sample: Sample, restored: FloatImage) -> Check:
    """Compare the float32 model's result on the sample photo with the ground truth.

    Args:
        sample: the photo and its degraded twin.
        restored: (size, size, 3) in [0, 1].

    Returns:
        A check that does not have to pass: weights in the making are exported, too.
    """
    flat = np.broadcast_to(sample.clean.mean(axis=(0, 1)), sample.clean.shape)
    least = max(
        psnr(sample.clean, sample.degraded_hwc) - _BELOW_INPUT,
        psnr(sample.clean, flat) + _ABOVE_FLAT,
    )
    value = psnr(sample.clean, restored)
    return judge("plausibility", "restored", "ground truth", "psnr_db", value, at_least=least)
