"""Flows whose velocity is known in closed form, and a twin of the objective that is wrong."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from elir_edge.flow.losses import LcfmSettings, LcfmTerms, VelocityField
from elir_edge.flow.segments import extrapolate, interpolate, per_sample, segment_end
from tests.conftest import make_model, tiny_config

F64 = torch.float64
EXACT = 1e-10  # Sums of some thousand terms of size one, linear systems of condition up to 3e4.
SQUARED = 1e-24  # A mean square of rounding errors: (1e-12)^2.


def identity(z: Tensor) -> Tensor:
    """Return z: a decoder whose images are latents."""
    return z


def distance(got: Tensor, expected: Tensor) -> float:
    """Return the largest absolute difference of two tensors of one shape."""
    assert got.shape == expected.shape
    return (got - expected).abs().max().item()


def quiet_settings(
    *,
    num_segments: int = 1,
    dt: float,
    alpha: float = 0.0,
    beta: float = 0.0,
    sigma_min: float = 0.0,
) -> LcfmSettings:
    """Return settings in which only what is asked for plays a part."""
    return LcfmSettings(
        num_segments=num_segments, dt=dt, alpha=alpha, beta=beta, sigma_min=sigma_min
    )


@dataclass(frozen=True)
class Scaling:
    """The deterministic coupling z_1 = a z_0 + b.

    With k = a - 1 + sigma_min the path is z_t = (1 + k t) z_0 + t b and its speed k z_0 + b. For
    a > 0 no two paths meet, so z_0 = (z_t - t b) / (1 + k t) and the speed is a function of (z, t).
    """

    a: float
    b: float
    sigma_min: float

    @property
    def k(self) -> float:
        """Return k."""
        return self.a - 1 + self.sigma_min

    def velocity(self, z: Tensor, t: Tensor) -> Tensor:
        """Return (k z + b) / (1 + k t), constant along each path."""
        return (self.k * z + self.b) / (1 + self.k * per_sample(t, z))

    def target(self, z_0: Tensor) -> Tensor:
        """Return z_1."""
        return self.a * z_0 + self.b


@dataclass(frozen=True)
class Gaussians:
    """z_0 ~ N(m_0, s_0^2) and z_1 ~ N(m_1, s_1^2) with correlation rho, per channel (C,).

    With h = 1 - (1 - sigma_min) t: z_t = t z_1 + h z_0 has the mean m_t = t m_1 + h m_0 and the
    variance S_t = t^2 s_1^2 + h^2 s_0^2 + 2 t h c, c = rho s_0 s_1. Its speed
    u = z_1 - (1 - sigma_min) z_0 has Cov(u, z_t) = S_t' / 2. All are jointly Gaussian, so the
    marginal velocity E[u | z_t] = E u + (S_t' / 2 S_t) (z_t - m_t), and its flow is
    m_t + sqrt(S_t / S_0) (z_0 - m_0).
    """

    m_0: Tensor
    s_0: Tensor
    m_1: Tensor
    s_1: Tensor
    rho: Tensor
    sigma_min: float

    def pairs(self) -> tuple[Tensor, Tensor]:
        """Return z_0, z_1 (4, C, 1, 1): the rule xi, eta = +-1 that replaces two unit normals.

        Its first three moments are theirs, so the mean of any quadratic over the four points is the
        expectation: no sampling error, whatever the loss, as long as the field is affine.
        """
        xi = torch.tensor([1.0, 1.0, -1.0, -1.0], dtype=F64)[:, None]
        eta = torch.tensor([1.0, -1.0, 1.0, -1.0], dtype=F64)[:, None]
        z_0 = self.m_0 + self.s_0 * xi
        z_1 = self.m_1 + self.s_1 * (self.rho * xi + (1 - self.rho**2).sqrt() * eta)
        return z_0[:, :, None, None], z_1[:, :, None, None]

    def mean(self, t: Tensor) -> Tensor:
        """Return m_t (B, C) for t (B,)."""
        t = t[:, None]
        return t * self.m_1 + (1 - (1 - self.sigma_min) * t) * self.m_0

    def variance(self, t: Tensor) -> Tensor:
        """Return S_t (B, C) for t (B,)."""
        t, c = t[:, None], self.rho * self.s_0 * self.s_1
        h = 1 - (1 - self.sigma_min) * t
        return t**2 * self.s_1**2 + h**2 * self.s_0**2 + 2 * t * h * c

    def marginal(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Return slope and offset (B, C) of E[u | z_t] for t (B,)."""
        keep = 1 - self.sigma_min
        times, c = t[:, None], self.rho * self.s_0 * self.s_1
        h = 1 - keep * times
        covariance = times * self.s_1**2 - keep * h * self.s_0**2 + c * (h - keep * times)
        slope = covariance / self.variance(t)
        return slope, self.m_1 - keep * self.m_0 - slope * self.mean(t)

    def velocity(self, z: Tensor, t: Tensor) -> Tensor:
        """Return E[u | z_t = z]."""
        slope, offset = self.marginal(t)
        return slope[:, :, None, None] * z + offset[:, :, None, None]

    def posterior_mean(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Return slope and offset (B, C) of E[z_1 | z_t] for t (B,)."""
        h = 1 - (1 - self.sigma_min) * t[:, None]
        covariance = t[:, None] * self.s_1**2 + h * self.rho * self.s_0 * self.s_1
        slope = covariance / self.variance(t)
        return slope, self.m_1 - slope * self.mean(t)


class _Field(nn.Module):
    def __init__(self, field: VelocityField) -> None:
        super().__init__()
        self.field = field

    def forward(self, z: Tensor, t: Tensor) -> Tensor:
        return self.field(z, t)


def trajectory(field: VelocityField, z_0: Tensor, num_steps: int) -> list[Tensor]:
    """Return the states that a (tiny) model with this vector field visits."""
    model = make_model(tiny_config(num_steps=num_steps))
    model.velocity = _Field(field)
    return model.trajectory(z_0)


def attached_terms(
    velocity: VelocityField,
    decoder: Callable[[Tensor], Tensor],
    z_0: Tensor,
    z_1: Tensor,
    image: Tensor,
    t: Tensor,
    settings: LcfmSettings,
) -> LcfmTerms:
    """Return what `lcfm_terms` would without any stop-gradient: equal values, other gradients."""
    t_next = t + settings.dt
    end = segment_end(t, settings.num_segments)
    z_t = interpolate(z_0, z_1, t, settings.sigma_min)
    z_next = interpolate(z_0, z_1, t_next, settings.sigma_min)
    v_t, v_next = velocity(z_t, t), velocity(z_next, t_next)
    f_t, f_next = extrapolate(z_t, v_t, t, end), extrapolate(z_next, v_next, t_next, end)
    z_1_hat = f_t + per_sample(1 - end, f_t) * velocity(f_t, end)
    mse = F.mse_loss(decoder(z_1_hat), image)
    return LcfmTerms(f=F.mse_loss(f_t, f_next), v=F.mse_loss(v_t, v_next), mse=mse)
