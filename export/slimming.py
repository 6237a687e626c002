"""The loss of a slim decoder: the same latents, decoded by the slim and the full decoder."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from elir_edge.data.operations import FloatImage
from elir_edge.data.tensors import to_batch, to_image
from elir_edge.metrics import psnr
from elir_edge.model import Elir
from elir_edge.model.lpips import LpipsSqueeze
from elir_edge.runtime.manifest import Check
from export.calibration.photos import CalibrationCrop
from export.parity import MAX_LOST_SLIM, MAX_WORSE_LPIPS_SLIM, judge
from export.reporting import Report
from export.sample import Sample

_FORM, _TRUTH = "slim decoder", "ground truth, relative to the full decoder"


@dataclass(frozen=True, kw_only=True)
class DecoderCost:
    """The loss of a slim decoder against the full one.

    Attributes:
        checks: the loss in dB of PSNR and, if its weights are given, in LPIPS. These checks may
            fail: the bundle is written anyway.
        full: the sample restored with the full decoder, (H, W, 3) in [0, 1].
    """

    checks: list[Check]
    full: FloatImage


@torch.no_grad()
def compare_decoders(
    full: Elir,
    slim: Elir,
    sample: Sample,
    crops: Sequence[CalibrationCrop],
    noise: Tensor,
    lpips: LpipsSqueeze | None,
    report: Report,
) -> DecoderCost:
    """Decode the restored latents of photos with both decoders; compare with the ground truth.

    Args:
        full: the model with the decoder that it was trained with.
        slim: the same model with the slim decoder.
        sample: the photo of the export's preview.
        crops: other photos and their degraded versions, of the same size.
        noise: a noise sample for one image of this size, (1, C, H/8, W/8).
        lpips: the LPIPS metric; None: only PSNR is compared.
        report: receives the progress.

    Returns:
        The mean losses over `crops`, and the sample restored with the full decoder.
    """
    lost, worse = [], []
    for crop in report.each("comparing the decoders", crops):
        latent = full.trajectory(full.initial_point(to_batch(crop.degraded)) + noise)[-1]
        images = [to_image(model.decoder(latent)) for model in (full, slim)]
        scores = [psnr(crop.clean, image) for image in images]
        lost.append(scores[0] - scores[1])
        if lpips is not None:
            clean = to_batch(crop.clean)
            distances = [float(lpips(clean, to_batch(image))) for image in images]
            worse.append(distances[1] - distances[0])
    value = float(np.mean(lost))
    checks = [judge(_FORM, "restored", _TRUTH, "lost_db", value, at_most=MAX_LOST_SLIM)]
    if worse:
        value = float(np.mean(worse))
        limit = MAX_WORSE_LPIPS_SLIM
        checks.append(judge(_FORM, "restored", _TRUTH, "lpips_added", value, at_most=limit))
    return DecoderCost(checks=checks, full=to_image(full(sample.degraded[:1], noise)))
