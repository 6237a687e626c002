"""Training objectives: the autoencoder's reconstruction and the restoration objective (Eq. 5)."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from elir_edge.data.datasets import Share
from elir_edge.flow.losses import FmTerms, LcfmSettings, LcfmTerms, fm_terms, lcfm_terms
from elir_edge.flow.segments import draw_times
from elir_edge.model import Elir
from elir_edge.model.collapsible import collapsed_once
from elir_edge.model.lpips import LpipsSqueeze
from elir_edge.train.config import TrainConfig
from elir_edge.train.grid_error import RESTORED_WINDOW, grid_error


@dataclass(frozen=True, kw_only=True)
class BatchDraws:
    """The random numbers of one step, drawn for the whole batch; a process takes its share.

    A batch therefore gets the same numbers with any number of processes.
    """

    generator: torch.Generator
    share: Share

    def normal(self, like: Tensor) -> Tensor:
        """Return N(0, 1) noise of the shape and on the device of this share's tensor (B, ...)."""
        shape = (len(like) * self.share.count, *like.shape[1:])
        return self._mine(torch.randn(shape, generator=self.generator)).to(like.device)

    def offsets(self, end: int) -> tuple[int, int]:
        """Return two random integers in [0, end), the same in all processes."""
        first, second = torch.randint(end, (2,), generator=self.generator).tolist()
        return first, second

    def times(self, like: Tensor, dt: float) -> Tensor:
        """Return t ~ U[0, 1 - dt], shape (B,), for this share's tensor (B, ...)."""
        drawn = draw_times(len(like) * self.share.count, dt, self.generator)
        return self._mine(drawn).to(like.device)

    def _mine(self, drawn: Tensor) -> Tensor:
        indices = self.share.indices(len(drawn))
        return drawn[indices.start : indices.stop]


@dataclass(frozen=True, kw_only=True)
class StepImages:
    """The images of one training step, on the run's device (see `Batch`).

    Attributes:
        clean: clean images, (B, 3, H, W) in [0, 1].
        degraded: degraded images, same shape and range.
        latent: a teacher's latents of the clean images, (B, C, H / 8, W / 8), or None.
        decoded: the teacher's decoded images of these latents, (B, 3, H, W) in [0, 1], or None.
    """

    clean: Tensor
    degraded: Tensor
    latent: Tensor | None = None
    decoded: Tensor | None = None


_LARGEST_SHIFT = 4
"""Shifts are drawn below this: LPIPS has strides of 2 and 4, and shifts let it see every phase."""

_LOOKED_AT = 2
"""LPIPS sees 1 / 2 of a batch, since its gradient costs as much as a slim decoder's."""


def perceptual_error(
    perceptual: LpipsSqueeze, images: Tensor, references: Tensor, draws: BatchDraws
) -> Tensor:
    """Return the mean LPIPS over the first half of a batch.

    All images are shifted by the same few random pixels.

    Args:
        perceptual: the LPIPS network.
        images: images, (B, 3, H, W) in [0, 1].
        references: reference images, same shape.
        draws: the step's random numbers.

    Returns:
        A scalar.
    """
    top, left = draws.offsets(_LARGEST_SHIFT)
    count = math.ceil(len(images) / _LOOKED_AT)
    looked_at = (each[:count, :, top:, left:] for each in (images, references))
    distances: Tensor = perceptual(*looked_at)
    return distances.mean()


class Objective(Protocol):
    """Computes the named loss terms of one batch; the term `total` is minimised."""

    def trainable(self, model: Elir) -> Iterator[tuple[str, nn.Module]]:
        """Yield the parts of the model that are trained, with their names."""

    def losses(
        self, model: Elir, images: StepImages, draws: BatchDraws, step: int
    ) -> dict[str, Tensor]:
        """Return the loss terms at a step of the run."""


@dataclass(frozen=True, kw_only=True)
class AutoencoderObjective:
    """Mean absolute error of decode(encode(x) + noise)."""

    latent_noise: float

    def trainable(self, model: Elir) -> Iterator[tuple[str, nn.Module]]:
        """Yield encoder and decoder."""
        yield "encoder", model.encoder
        yield "decoder", model.decoder

    def losses(
        self, model: Elir, images: StepImages, draws: BatchDraws, step: int
    ) -> dict[str, Tensor]:
        """Return the reconstruction error of the clean images; `step` is ignored."""
        clean = images.clean
        latent = model.encoder(clean).float()
        restored = model.decoder(latent + self.latent_noise * draws.normal(latent)).float()
        return {"total": F.l1_loss(restored, clean)}


_COARSE_WEIGHT = 0.001
"""Weight of L_2 in the end-to-end steps. It keeps z an estimate of z_1 while z is trained through
the flow. The error is taken on latents, since decoding z too would double the decoder's cost."""
_END_WEIGHT = 0.001
"""Weight of the mean squared error of the latent at the end of the flow, in the unrolled steps. The
decoder limits latents smoothly (3 tanh(z / 3)), so a channel that has left the range gets no
gradient through it and may grow from step to step without any loss of the image noticing."""
_MIN_MSE = 1e-8
"""Lower bound of the mean squared error (80 dB) before its logarithm is taken."""

FlowTerms = Callable[..., LcfmTerms | FmTerms]
_FLOWS: Mapping[str, FlowTerms] = {"lcfm": lcfm_terms, "fm": fm_terms}


@dataclass(frozen=True, kw_only=True)
class RestorationObjective:
    """L = L_2(phi, omega) + L_DP(theta), with a frozen encoder's latents as the target (Eq. 5).

    Attributes:
        target_encoder: E, frozen; only used if the images come without latents.
        settings: settings of the flow's terms.
        sigma_s: standard deviation of the source's noise.
        flow: the flow's objective; `none`: L_2 alone.
        trainable_encoder: whether E_omega is trained.
        trainable_coarse: whether g_phi is trained.
        coarse_steps: see `TrainConfig`.
        refine_steps: see `TrainConfig`.
        unrolled_from: the step from which the error of the restored image replaces the flow's
            terms; None: never.
        end_to_end: see `TrainConfig`.
        psnr_loss: see `TrainConfig`.
        perceptual: LPIPS network on the run's device, for the restored images; its weight is
            `settings.lpips`. None: no perceptual loss.
        grid: weight of the restored images' grid error; 0: none.
    """

    target_encoder: nn.Module
    settings: LcfmSettings
    sigma_s: float
    flow: Literal["lcfm", "fm", "none"] = "lcfm"
    trainable_encoder: bool = True
    trainable_coarse: bool = True
    coarse_steps: int = 0
    refine_steps: int = 0
    unrolled_from: int | None = None
    end_to_end: bool = False
    psnr_loss: bool = False
    perceptual: LpipsSqueeze | None = None
    grid: float = 0.0

    def trainable(self, model: Elir) -> Iterator[tuple[str, nn.Module]]:
        """Yield the trained parts among encoder, coarse estimator and vector field."""
        if self.trainable_encoder:
            yield "encoder", model.encoder
        if self.trainable_coarse:
            yield "coarse", model.coarse
        yield "velocity", model.velocity

    def losses(
        self, model: Elir, images: StepImages, draws: BatchDraws, step: int
    ) -> dict[str, Tensor]:
        """Return the terms of this step's phase, and `total`, which is minimised."""
        with collapsed_once(model):
            return self._losses(model, images, draws, step)

    def _losses(
        self, model: Elir, images: StepImages, draws: BatchDraws, step: int
    ) -> dict[str, Tensor]:
        clean, degraded, z_1 = images.clean, images.degraded, images.latent
        if z_1 is None:
            with torch.no_grad():
                z_1 = self.target_encoder(clean).float()
        coarse_only = self.flow == "none" or step < self.coarse_steps
        flow_only = not coarse_only and self.coarse_steps > 0
        unrolled = self.unrolled_from is not None and step >= self.unrolled_from
        with torch.set_grad_enabled(not flow_only or (unrolled and self.end_to_end)):
            z = model.initial_point(degraded).float()
        if self.coarse_steps - self.refine_steps <= step < self.coarse_steps:
            mse = F.mse_loss(model.decoder(z).float(), clean)
            return {"total": mse, "coarse_mse": mse}
        l_2 = F.mse_loss(z, z_1)
        if coarse_only:
            return {"total": l_2, "l_2": l_2}
        noise = self.sigma_s * draws.normal(z)
        if unrolled:
            return self._unrolled(model, z, noise, z_1, clean, l_2, draws)
        # LCFM needs room for the second point at t + dt; flow matching does not.
        t = draws.times(z, self.settings.dt if self.flow == "lcfm" else 0.0)
        terms = _FLOWS[self.flow](
            lambda z_t, t: model.velocity(z_t, t).float(),
            lambda latent: model.decoder(latent).float(),
            z + noise,
            z_1,
            clean,
            t,
            self.settings,
            self.perceptual,
        )
        total = terms.total(self.settings)
        return {"total": total if flow_only else l_2 + total, "l_2": l_2, **terms.named()}

    def _unrolled(
        self,
        model: Elir,
        z: Tensor,
        noise: Tensor,
        z_1: Tensor,
        clean: Tensor,
        l_2: Tensor,
        draws: BatchDraws,
    ) -> dict[str, Tensor]:
        end = model.trajectory(z + noise)[-1].float()
        restored = model.decoder(end).float()
        mse, total = self._errors(restored, clean)
        terms = {"restored_mse": mse, "end_l_2": F.mse_loss(end, z_1)}
        total = total + _END_WEIGHT * terms["end_l_2"]
        if self.perceptual is not None and self.settings.lpips:
            terms["restored_lpips"] = perceptual_error(self.perceptual, restored, clean, draws)
            total = total + self.settings.lpips * terms["restored_lpips"]
        if self.grid:
            terms["restored_grid"] = grid_error(
                restored - clean, period=model.config.latent_factor, window=RESTORED_WINDOW
            )
            total = total + self.grid * terms["restored_grid"]
        if self.end_to_end:
            terms["l_2"] = l_2
            total = total + _COARSE_WEIGHT * l_2
        return {"total": total, **terms}

    def _errors(self, restored: Tensor, clean: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean squared error, and the error that is minimised (see `psnr_loss`)."""
        errors = (restored - clean).square().mean(dim=(1, 2, 3))
        mse = errors.mean()
        return mse, errors.clamp_min(_MIN_MSE).log10().mean() if self.psnr_loss else mse


class LossModule(nn.Module):
    """Model and objective as one module, so that DDP can average the gradients of its forward."""

    def __init__(self, model: Elir, objective: Objective, precision: str) -> None:
        super().__init__()
        self.model = model
        self._objective = objective
        self._precision = precision

    def forward(self, images: StepImages, draws: BatchDraws, step: int) -> dict[str, Tensor]:
        """Return the named losses."""
        mixed = self._precision == "bf16"
        with torch.autocast(images.clean.device.type, torch.bfloat16, enabled=mixed):
            return self._objective.losses(self.model, images, draws, step)


def lcfm_settings(config: TrainConfig) -> LcfmSettings:
    """Return the settings of the flow's terms from a training configuration."""
    # Flow matching has no segments, so dt need not fit into one: use a single segment.
    consistent = config.objective == "lcfm"
    return LcfmSettings(
        num_segments=max(1, config.model.num_steps) if consistent else 1,
        loss=config.loss,
        lpips=config.lpips,
        dt=config.dt,
        alpha=config.alpha,
        beta=config.beta,
        sigma_min=config.sigma_min,
    )
