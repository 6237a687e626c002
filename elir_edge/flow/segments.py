"""The path between source and target, and the K segments of [0, 1] (paper, section 4.1)."""

import torch
from torch import Tensor


def per_sample(t: Tensor, like: Tensor) -> Tensor:
    """Reshape times (B,) so that they broadcast over `like` (B, ...)."""
    return t.view(-1, *([1] * (like.dim() - 1)))


def interpolate(z_0: Tensor, z_1: Tensor, t: Tensor, sigma_min: float) -> Tensor:
    """Return z_t = t z_1 + (1 - (1 - sigma_min) t) z_0 (section 4.1).

    Args:
        z_0: source latents, shape (B, ...).
        z_1: target latents, same shape.
        t: times in [0, 1], shape (B,).
        sigma_min: weight of the source at t = 1.
    """
    t = per_sample(t, z_0)
    return t * z_1 + (1 - (1 - sigma_min) * t) * z_0


def segment_end(t: Tensor, num_segments: int) -> Tensor:
    """Return (i + 1) / K of the segment [i/K, (i+1)/K) that contains t, (B,); 1 for t = 1."""
    index = torch.clamp(torch.floor(t * num_segments), max=num_segments - 1)
    return (index + 1) / num_segments


def extrapolate(z_t: Tensor, velocity: Tensor, t: Tensor, end: Tensor) -> Tensor:
    """Return f(z_t, t) = z_t + (end - t) v(z_t, t): a straight step to the segment end (Eq. 3)."""
    return z_t + per_sample(end - t, z_t) * velocity


def draw_times(num_samples: int, dt: float, generator: torch.Generator) -> Tensor:
    """Draw t ~ U[0, 1 - dt], shape (num_samples,)."""
    return torch.rand(num_samples, generator=generator) * (1 - dt)
