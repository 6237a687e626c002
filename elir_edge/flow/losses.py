"""The flow objectives, each term by its name: LCFM (paper, Eq. 3-5) and plain flow matching."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from elir_edge.errors import ConfigError
from elir_edge.flow.segments import extrapolate, interpolate, per_sample, segment_end

VelocityField = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class LcfmSettings:
    """Hyper-parameters of the objectives (Table 6); flow matching reads beta and sigma_min.

    Attributes:
        num_segments: K.
        dt: distance of the two points whose predictions must agree.
        alpha: weight of the velocity term.
        beta: balance of Eq. 4 between the flow (0) and the image's mean square error (1).
        sigma_min: what is left of the source at t = 1.

    Raises:
        ConfigError: a field is out of range.
    """

    num_segments: int
    dt: float = 0.05
    alpha: float = 0.001
    beta: float = 0.001
    sigma_min: float = 1e-5

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.num_segments < 1 or not 0 < self.dt < 1:
            raise ConfigError("LCFM settings are invalid", expected="num_segments >= 1, 0 < dt < 1")
        if self.num_segments * self.dt > 1:
            # The field on (1 - dt, 1] gets no gradient; Euler's last step must lie before it.
            raise ConfigError(
                "LCFM settings are invalid",
                got=f"dt {self.dt:g}",
                expected="dt <= 1 / num_segments",
            )
        if self.alpha < 0 or not 0 <= self.beta <= 1 or not 0 <= self.sigma_min < 1:
            raise ConfigError(
                "LCFM settings are invalid",
                expected="alpha >= 0, beta in [0, 1], sigma_min in [0, 1)",
            )


@dataclass(frozen=True, kw_only=True)
class LcfmTerms:
    """The scalar terms of Eq. 4; every square norm is a mean over elements."""

    f: Tensor
    v: Tensor
    mse: Tensor

    def total(self, settings: LcfmSettings) -> Tensor:
        """Return L_DP = (1 - beta) (f + alpha v) + beta mse."""
        flow = self.f + settings.alpha * self.v
        return (1 - settings.beta) * flow + settings.beta * self.mse

    def named(self) -> dict[str, Tensor]:
        """Return the terms by name."""
        return {"f": self.f, "v": self.v, "mse": self.mse}


@dataclass(frozen=True, kw_only=True)
class FmTerms:
    """The scalar terms of latent flow matching (Table 5's baseline)."""

    fm: Tensor
    mse: Tensor

    def total(self, settings: LcfmSettings) -> Tensor:
        """Return (1 - beta) fm + beta mse: Eq. 4 with flow matching in LCFM's place."""
        return (1 - settings.beta) * self.fm + settings.beta * self.mse

    def named(self) -> dict[str, Tensor]:
        """Return the terms by name."""
        return {"fm": self.fm, "mse": self.mse}


def lcfm_terms(
    velocity: VelocityField,
    decoder: Callable[[Tensor], Tensor],
    z_0: Tensor,
    z_1: Tensor,
    image: Tensor,
    t: Tensor,
    settings: LcfmSettings,
) -> LcfmTerms:
    """Return the terms of the distortion-perception objective for one batch.

    The second point of each consistency pair uses theta-minus: the same parameters, no gradient.
    Gradients must not reach what made z_0 and z_1 (Eq. 5), so both are detached here.

    Args:
        velocity: v_theta(z_t, t).
        decoder: the frozen decoder; gradients pass through it to theta.
        z_0: source latents (coarse estimate plus noise), shape (B, C, h, w).
        z_1: target latents, same shape.
        image: clean images in [0, 1], shape (B, 3, 8h, 8w).
        t: times in [0, 1 - dt], shape (B,).
        settings: the hyper-parameters.
    """
    z_0, z_1 = z_0.detach(), z_1.detach()
    t_next = t + settings.dt
    end = segment_end(t, settings.num_segments)
    z_t = interpolate(z_0, z_1, t, settings.sigma_min)
    z_next = interpolate(z_0, z_1, t_next, settings.sigma_min)

    v_t = velocity(z_t, t)
    with torch.no_grad():
        v_next = velocity(z_next, t_next)
        f_next = extrapolate(z_next, v_next, t_next, end)
    f_t = extrapolate(z_t, v_t, t, end)

    z_1_hat = f_t + per_sample(1 - end, f_t) * velocity(f_t, end)
    return LcfmTerms(
        f=F.mse_loss(f_t, f_next),
        v=F.mse_loss(v_t, v_next),
        mse=F.mse_loss(decoder(z_1_hat), image),
    )


def fm_terms(
    velocity: VelocityField,
    decoder: Callable[[Tensor], Tensor],
    z_0: Tensor,
    z_1: Tensor,
    image: Tensor,
    t: Tensor,
    settings: LcfmSettings,
) -> FmTerms:
    """Return the terms of latent flow matching (Dao et al., 2023), which knows no consistency.

    The field is regressed onto the path's own velocity dz_t/dt = z_1 - (1 - sigma_min) z_0; the
    image's error is taken after one straight step from t to 1. Arguments: see `lcfm_terms`.
    """
    z_0, z_1 = z_0.detach(), z_1.detach()
    z_t = interpolate(z_0, z_1, t, settings.sigma_min)
    v_t = velocity(z_t, t)
    z_1_hat = extrapolate(z_t, v_t, t, torch.ones_like(t))
    return FmTerms(
        fm=F.mse_loss(v_t, z_1 - (1 - settings.sigma_min) * z_0),
        mse=F.mse_loss(decoder(z_1_hat), image),
    )
