"""What a slim decoder costs: the same latents, decoded by both."""

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
from export.calibration.photos import Example
from export.parity import MAX_LOST_SLIM, MAX_WORSE_LPIPS_SLIM, judge
from export.reporting import Report
from export.sample import Sample

_FORM, _TRUTH = "slim decoder", "ground truth, beside the full decoder"


@dataclass(frozen=True, kw_only=True)
class DecoderCost:
    """What takes the full decoder's place costs.

    Attributes:
        checks: what is lost, in dB and, where its weights are given, in LPIPS. They do not have to
            pass: what is asked for is made.
        full: the sample restored with the full decoder, (H, W, 3) in [0, 1].
    """

    checks: list[Check]
    full: FloatImage


@torch.no_grad()
def compare_decoders(
    full: Elir,
    slim: Elir,
    sample: Sample,
    examples: Sequence[Example],
    noise: Tensor,
    lpips: LpipsSqueeze | None,
    report: Report,
) -> DecoderCost:
    """Restore photos once, decode them twice, and compare both with the ground truth.

    Args:
        full: the model with the decoder that it was trained with.
        slim: the same with another decoder.
        sample: the photo that the export shows.
        examples: further photos and their degraded twins, of the same size.
        noise: draw for one image of their size.
        lpips: the metric; None: without.
        report: told how far it is.
    """
    lost, worse = [], []
    for example in report.each("comparing the decoders", examples):
        latent = full.trajectory(full.initial_point(to_batch(example.degraded)) + noise)[-1]
        images = [to_image(model.decoder(latent)) for model in (full, slim)]
        scores = [psnr(example.clean, image) for image in images]
        lost.append(scores[0] - scores[1])
        if lpips is not None:
            clean = to_batch(example.clean)
            distances = [float(lpips(clean, to_batch(image))) for image in images]
            worse.append(distances[1] - distances[0])
    value = float(np.mean(lost))
    checks = [judge(_FORM, "restored", _TRUTH, "lost_db", value, at_most=MAX_LOST_SLIM)]
    if worse:
        value = float(np.mean(worse))
        limit = MAX_WORSE_LPIPS_SLIM
        checks.append(judge(_FORM, "restored", _TRUTH, "lpips_added", value, at_most=limit))
    return DecoderCost(checks=checks, full=to_image(full(sample.degraded[:1], noise)))
