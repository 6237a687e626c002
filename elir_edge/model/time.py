"""Embedding of the flow time t (the published model's sinusoid and two-layer network)."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_TIME_SCALE = 1000.0
_MAX_PERIOD = 10_000.0


def sinusoid(t: Tensor, num_features: int) -> Tensor:
    """Return `concat(cos(1000 t w), sin(1000 t w))`, `w_j = exp(-j ln(10000) / (n/2 - 1))`.

    Args:
        t: flow times in [0, 1], shape (B,).
        num_features: n, an even number.

    Returns:
        Shape (B, num_features), values in [-1, 1], in t's dtype.
    """
    half = num_features // 2
    steps = torch.arange(half, dtype=t.dtype, device=t.device)
    frequencies = torch.exp(-math.log(_MAX_PERIOD) / (half - 1) * steps)
    angles = _TIME_SCALE * t[:, None] * frequencies[None, :]
    return torch.cat([torch.cos(angles), torch.sin(angles)], dim=1)


class TimeEmbedding(nn.Module):
    """Sinusoid, linear, SiLU, linear: (B,) -> (B, time_width)."""

    def __init__(self, num_features: int, width: int) -> None:
        super().__init__()
        self.num_features = num_features
        self.linear1 = nn.Linear(num_features, width)
        self.linear2 = nn.Linear(width, width)

    def forward(self, t: Tensor) -> Tensor:
        """Embed times t in [0, 1], shape (B,)."""
        features = sinusoid(t.to(self.linear1.weight.dtype), self.num_features)
        hidden: Tensor = self.linear2(F.silu(self.linear1(features)))
        return hidden
