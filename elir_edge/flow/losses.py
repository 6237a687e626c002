"""The flow objectives as named terms: LCFM (paper, Eq. 3-5) and plain flow matching.

LCFM has two variants, which differ in two points:

- Consistency pairs whose second point t + dt lies beyond the segment's end (i + 1) / K. The paper's
  text has no rule for them: Eq. 3 extrapolates back to the end with v_theta of the next segment.
  The published code compares with the true point of the path at the end, which anchors the field
  to the data.
- The gradient of the image error. In the text, the image is predicted from f_theta(z_t, t), so the
  gradient also reaches v_theta at z_t. The published code detaches f_theta, so that only the last
  step learns from the image.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from elir_edge.errors import ConfigError
from elir_edge.flow.segments import extrapolate, interpolate, per_sample, segment_end

VelocityField = Callable[[Tensor, Tensor], Tensor]
Perceptual = Callable[[Tensor, Tensor], Tensor]
"""Maps (images, references), both (B, 3, H, W) in [0, 1], to distances (B,)."""


@dataclass(frozen=True, kw_only=True)
class LcfmSettings:
    """Hyper-parameters of the objectives (Table 6); `fm` reads only beta, sigma_min and lpips.

    Attributes:
        num_segments: K, the number of segments of [0, 1].
        dt: time between the two points whose predictions must agree.
        alpha: weight of the velocity term.
        beta: weight of the image's mean squared error in Eq. 4; the flow terms get 1 - beta.
        sigma_min: weight of the source at t = 1.
        loss: variant of LCFM: `paper` (the paper's text) or `published` (the published code).
        lpips: weight of the image's perceptual error, added to Eq. 4.

    Raises:
        ConfigError: a field is out of range.
    """

    num_segments: int
    dt: float
    alpha: float
    beta: float
    sigma_min: float = 1e-5
    loss: Literal["paper", "published"] = "paper"
    lpips: float = 0.0

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.num_segments < 1 or not 0 < self.dt < 1:
            raise ConfigError("LCFM settings are invalid", expected="num_segments >= 1, 0 < dt < 1")
        if self.num_segments * self.dt > 1:
            # The field gets no gradient on (1 - dt, 1]; the last Euler step must start before that.
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
        if self.loss not in ("paper", "published") or self.lpips < 0:
            raise ConfigError(
                "LCFM settings are invalid", expected="loss `paper` or `published`, lpips >= 0"
            )


@dataclass(frozen=True, kw_only=True)
class ImageTerms:
    """Errors of the decoded image; None for a term whose weight is 0."""

    mse: Tensor | None = None
    lpips: Tensor | None = None

    def weighted(self, settings: LcfmSettings) -> Tensor | float:
        """Return beta * mse + settings.lpips * lpips."""
        total: Tensor | float = 0.0
        if self.mse is not None:
            total = total + settings.beta * self.mse
        if self.lpips is not None:
            total = total + settings.lpips * self.lpips
        return total

    def named(self) -> dict[str, Tensor]:
        """Return the terms that are not None, by name."""
        both = {"mse": self.mse, "lpips": self.lpips}
        return {name: value for name, value in both.items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class LcfmTerms(ImageTerms):
    """The scalar terms of Eq. 4; every squared norm is a mean over elements."""

    f: Tensor
    v: Tensor

    def total(self, settings: LcfmSettings) -> Tensor:
        """Return L_DP = (1 - beta) (f + alpha v) + beta mse, plus the weighted perceptual error."""
        flow = self.f + settings.alpha * self.v
        return (1 - settings.beta) * flow + self.weighted(settings)

    def named(self) -> dict[str, Tensor]:
        """Return the terms by name."""
        return {"f": self.f, "v": self.v, **super().named()}


@dataclass(frozen=True, kw_only=True)
class FmTerms(ImageTerms):
    """The scalar terms of latent flow matching (Table 5's baseline)."""

    fm: Tensor

    def total(self, settings: LcfmSettings) -> Tensor:
        """Return (1 - beta) fm + beta mse (Eq. 4 with the flow matching term), plus lpips."""
        return (1 - settings.beta) * self.fm + self.weighted(settings)

    def named(self) -> dict[str, Tensor]:
        """Return the terms by name."""
        return {"fm": self.fm, **super().named()}


def lcfm_terms(
    velocity: VelocityField,
    decoder: Callable[[Tensor], Tensor],
    z_0: Tensor,
    z_1: Tensor,
    image: Tensor,
    t: Tensor,
    settings: LcfmSettings,
    perceptual: Perceptual | None = None,
) -> LcfmTerms:
    """Return the terms of the distortion-perception objective for one batch.

    The second point of each consistency pair uses theta-minus: the same parameters, no gradient.
    No gradient may reach the networks that computed z_0 and z_1 (Eq. 5), so both are detached here.

    Args:
        velocity: v_theta(z_t, t).
        decoder: the frozen decoder; gradients pass through it to theta.
        z_0: source latents (coarse estimate plus noise), shape (B, C, h, w).
        z_1: target latents, same shape.
        image: clean images in [0, 1], shape (B, 3, 8h, 8w).
        t: times in [0, 1 - dt], shape (B,).
        settings: the hyper-parameters.
        perceptual: perceptual distance of two images; None: `settings.lpips` is ignored.
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
        if settings.loss == "published":
            at_end = interpolate(z_0, z_1, end, settings.sigma_min)
            f_next = torch.where(per_sample(t_next < end, f_next), f_next, at_end)
    f_t = extrapolate(z_t, v_t, t, end)

    start = f_t.detach() if settings.loss == "published" else f_t
    terms = _image_terms(
        lambda: decoder(start + per_sample(1 - end, start) * velocity(start, end)),
        image,
        settings,
        perceptual,
    )
    return LcfmTerms(
        f=F.mse_loss(f_t, f_next),
        v=F.mse_loss(v_t, v_next),
        mse=terms.mse,
        lpips=terms.lpips,
    )


def _image_terms(
    restored: Callable[[], Tensor],
    image: Tensor,
    settings: LcfmSettings,
    perceptual: Perceptual | None,
) -> ImageTerms:
    """Return the errors with a non-zero weight; decode the image only if there is one."""
    looks = perceptual is not None and settings.lpips > 0
    if settings.beta == 0 and not looks:
        return ImageTerms()
    found = restored()
    return ImageTerms(
        mse=F.mse_loss(found, image) if settings.beta else None,
        lpips=perceptual(found, image).mean() if perceptual is not None and looks else None,
    )


def fm_terms(
    velocity: VelocityField,
    decoder: Callable[[Tensor], Tensor],
    z_0: Tensor,
    z_1: Tensor,
    image: Tensor,
    t: Tensor,
    settings: LcfmSettings,
    perceptual: Perceptual | None = None,
) -> FmTerms:
    """Return the terms of latent flow matching (Dao et al., 2023), which has no consistency term.

    The field is regressed onto the path's velocity dz_t/dt = z_1 - (1 - sigma_min) z_0; the
    image's error is measured after one straight step from t to 1. Arguments: see `lcfm_terms`.
    """
    z_0, z_1 = z_0.detach(), z_1.detach()
    z_t = interpolate(z_0, z_1, t, settings.sigma_min)
    v_t = velocity(z_t, t)
    terms = _image_terms(
        lambda: decoder(extrapolate(z_t, v_t, t, torch.ones_like(t))), image, settings, perceptual
    )
    return FmTerms(
        fm=F.mse_loss(v_t, z_1 - (1 - settings.sigma_min) * z_0),
        mse=terms.mse,
        lpips=terms.lpips,
    )
