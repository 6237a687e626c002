"""What is minimised: the autoencoder's reconstruction, or the restoration objective (Eq. 5)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from elir_edge.flow.losses import LcfmSettings, lcfm_terms
from elir_edge.flow.segments import draw_times
from elir_edge.model import Elir
from elir_edge.train.config import TrainConfig


class Objective(Protocol):
    """Named loss terms of one batch; `total` is the one that is minimised."""

    def trainable(self, model: Elir) -> Iterator[tuple[str, nn.Module]]:
        """Yield the named parts of the model that learn."""

    def losses(
        self, model: Elir, clean: Tensor, degraded: Tensor, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Return the terms for images (B, 3, H, W) in [0, 1]."""


@dataclass(frozen=True, kw_only=True)
class AutoencoderObjective:
    """Mean absolute error of decode(encode(x) + noise)."""

    latent_noise: float

    def trainable(self, model: Elir) -> Iterator[tuple[str, nn.Module]]:
        """Yield encoder and decoder."""
        yield "encoder", model.encoder
        yield "decoder", model.decoder

    def losses(
        self, model: Elir, clean: Tensor, degraded: Tensor, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Return the reconstruction error; `degraded` plays no part."""
        latent = model.encoder(clean).float()
        noise = self.latent_noise * torch.randn(latent.shape, generator=generator)
        restored = model.decoder(latent + noise.to(latent.device)).float()
        return {"total": F.l1_loss(restored, clean)}


@dataclass(frozen=True, kw_only=True)
class RestorationObjective:
    """L = L_2(phi, omega) + L_DP(theta), with the encoder's frozen twin as the target (Eq. 5)."""

    target_encoder: nn.Module
    settings: LcfmSettings
    sigma_s: float

    def trainable(self, model: Elir) -> Iterator[tuple[str, nn.Module]]:
        """Yield encoder, coarse estimator and vector field; the decoder stays as it is."""
        yield "encoder", model.encoder
        yield "coarse", model.coarse
        yield "velocity", model.velocity

    def losses(
        self, model: Elir, clean: Tensor, degraded: Tensor, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Return L_2, the three terms of L_DP and their total."""
        with torch.no_grad():
            z_1 = self.target_encoder(clean).float()
        z = model.initial_point(degraded).float()
        l_2 = F.mse_loss(z, z_1)
        noise = self.sigma_s * torch.randn(z.shape, generator=generator)
        t = draw_times(len(z), self.settings.dt, generator)
        terms = lcfm_terms(
            lambda z_t, t: model.velocity(z_t, t).float(),
            lambda latent: model.decoder(latent).float(),
            z.detach() + noise.to(z.device),
            z_1,
            clean,
            t.to(z.device),
            self.settings,
        )
        total = l_2 + terms.total(self.settings)
        return {"total": total, "l_2": l_2, "f": terms.f, "v": terms.v, "mse": terms.mse}


def lcfm_settings(config: TrainConfig) -> LcfmSettings:
    """Return the objective's part of a training configuration."""
    return LcfmSettings(
        num_segments=config.model.num_steps,
        dt=config.dt,
        alpha=config.alpha,
        beta=config.beta,
        sigma_min=config.sigma_min,
    )
