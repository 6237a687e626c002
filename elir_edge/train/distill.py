"""Distillation of an autoencoder into a slim one.

The decoder learns to reproduce the teacher's images and the encoder its latents. Both therefore
work in the teacher's latent space and can replace the teacher's parts.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from elir_edge.errors import UsageError
from elir_edge.model import Elir
from elir_edge.model.lpips import LpipsSqueeze
from elir_edge.train.grid_error import grid_error
from elir_edge.train.objectives import BatchDraws, StepImages, perceptual_error

_LAST_GAIN = 0.1
_GRAY = 0.5


@torch.no_grad()
def start_from_teacher(model: Elir, teacher: Elir) -> int:
    """Copy the teacher's layers that fit the student, and let the student's images start out gray.

    Layers are copied from the latent outwards, as long as both models have the same ones, so that
    the meaning of the latent need not be learned again. The decoder's last layer is scaled down:
    with the usual initialisation, the untrained layers give images far outside [0, 1], and the
    first thousand steps are spent on undoing that.

    Args:
        model: the student; its encoder and decoder are changed in place.
        teacher: the teacher autoencoder.

    Returns:
        The number of layers with weights that were copied.
    """
    taken = 0
    for pupil, master, order in (
        (model.encoder, teacher.encoder, -1),
        (model.decoder, teacher.decoder, 1),
    ):
        ours, theirs = (
            list(part.get_submodule("layers").children())[::order] for part in (pupil, master)
        )
        for own, other in zip(ours, theirs, strict=False):
            if not _alike(own, other):
                break
            own.load_state_dict(other.state_dict())
            taken += bool(own.state_dict())
        else:
            continue
        if pupil is model.decoder:
            last = ours[-1]
            for parameter in last.parameters():
                parameter.mul_(_LAST_GAIN)
            last.get_parameter("bias").fill_(_GRAY)
    return taken


def _alike(own: nn.Module, other: nn.Module) -> bool:
    shapes = [
        {key: value.shape for key, value in layer.state_dict().items()} for layer in (own, other)
    ]
    return type(own) is type(other) and shapes[0] == shapes[1]


@dataclass(frozen=True, kw_only=True)
class DistillationObjective:
    """The error against the teacher: first of the decoder's image, then of the encoder's latent.

    Attributes:
        decoder_steps: the first `decoder_steps` steps train the decoder, later ones the encoder.
        perceptual: LPIPS network on the run's device; None: no perceptual loss.
        lpips: weight of the perceptual loss, added to the mean absolute error.
        grid: weight of `grid_error`.
        latent_noise: standard deviation of the noise added to the decoder's input.
    """

    decoder_steps: int
    perceptual: LpipsSqueeze | None = None
    lpips: float = 0.0
    grid: float = 0.0
    latent_noise: float = 0.0

    def trainable(self, model: Elir) -> Iterator[tuple[str, nn.Module]]:
        """Yield encoder and decoder."""
        yield "encoder", model.encoder
        yield "decoder", model.decoder

    def losses(
        self, model: Elir, images: StepImages, draws: BatchDraws, step: int
    ) -> dict[str, Tensor]:
        """Return the losses of the part that this step trains.

        Raises:
            UsageError: the teacher's latents or images are missing from `images`.
        """
        if images.latent is None or images.decoded is None:
            raise UsageError("a distillation needs a teacher's latents and images")
        if step >= self.decoder_steps:
            error = F.l1_loss(model.encoder(images.clean).float(), images.latent)
            return {"total": error, "latent": error}
        latent = images.latent
        if self.latent_noise:
            latent = latent + self.latent_noise * draws.normal(latent)
        decoded = model.decoder(latent).float()
        terms = {"image": F.l1_loss(decoded, images.decoded)}
        total = terms["image"]
        if self.grid:
            terms["grid"] = grid_error(decoded - images.decoded)
            total = total + self.grid * terms["grid"]
        if self.perceptual is not None and self.lpips:
            terms["lpips"] = perceptual_error(self.perceptual, decoded, images.decoded, draws)
            total = total + self.lpips * terms["lpips"]
        return {"total": total, **terms}
