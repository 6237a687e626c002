"""The vector field v_theta(z_t, t): a U-Net of convolutions (paper, section 7.3.2)."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from elir_edge.model.activation import activation
from elir_edge.model.collapsible import conv3x3
from elir_edge.model.config import ModelConfig
from elir_edge.model.time import TimeEmbedding
from elir_edge.model.typed import items

_GROUPS = 32


class ResidualBlock(nn.Module):
    """Norm, activation and 3x3 convolution, twice, with a time bias in between and a 1x1 skip."""

    def __init__(self, in_channels: int, out_channels: int, config: ModelConfig) -> None:
        super().__init__()
        self.act = activation(config.activation)
        self.norm1 = _norm(in_channels, config)
        self.conv1 = conv3x3(in_channels, out_channels, config.expansion)
        self.time = nn.Linear(config.time_width, out_channels)
        self.norm2 = _norm(out_channels, config)
        self.conv2 = conv3x3(out_channels, out_channels, config.expansion)
        self.skip = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """Map x (B, in, h, w), with a time embedding (B, time_width), to (B, out, h, w)."""
        h = self.conv1(self.act(self.norm1(x)))
        h = h + self.time(F.silu(embedding))[:, :, None, None]
        h = self.conv2(self.act(self.norm2(h)))
        result: Tensor = h + self.skip(x)
        return result


class DownStage(nn.Module):
    """A residual block, then (where the multiplier is 2) a strided 3x3 convolution."""

    def __init__(self, in_channels: int, out_channels: int, config: ModelConfig) -> None:
        super().__init__()
        self.block = ResidualBlock(in_channels, in_channels, config)
        self.resample: nn.Module = nn.Identity()
        if out_channels != in_channels:
            self.resample = nn.Conv2d(in_channels, out_channels, 3, stride=2, padding=1)


class UpStage(nn.Module):
    """A transposed convolution (where the mirrored stage halved), then a residual block."""

    def __init__(self, in_channels: int, out_channels: int, config: ModelConfig) -> None:
        super().__init__()
        self.resample: nn.Module = nn.Identity()
        if out_channels != in_channels:
            kernel, padding = (4, 1) if config.velocity_upsample == "transpose4" else (2, 0)
            self.resample = nn.ConvTranspose2d(
                in_channels, out_channels, kernel, stride=2, padding=padding
            )
        self.block = ResidualBlock(2 * out_channels, out_channels, config)


class VelocityUNet(nn.Module):
    """v_theta: maps (z_t, t) to the velocity, all in the latent space."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        widths = [config.velocity_width]
        for multiplier in config.velocity_multipliers:
            widths.append(widths[-1] * multiplier)
        stages = list(pairwise(widths))
        self.time = TimeEmbedding(config.time_features, config.time_width)
        self.in_proj = nn.Conv2d(config.latent_channels, widths[0], 1)
        self.down = nn.ModuleList(DownStage(fine, coarse, config) for fine, coarse in stages)
        self.mid = nn.ModuleList(
            ResidualBlock(widths[-1], widths[-1], config) for _ in range(config.velocity_mid_blocks)
        )
        self.up = nn.ModuleList(UpStage(coarse, fine, config) for fine, coarse in reversed(stages))
        self.act = activation(config.activation)
        self.out_norm = _norm(widths[0], config)
        self.out_conv = conv3x3(widths[0], widths[0], config.expansion)
        self.out_proj = nn.Conv2d(widths[0], config.latent_channels, 1)

    def forward(self, z_t: Tensor, t: Tensor) -> Tensor:
        """Return the velocity (B, C, h, w) at z_t (B, C, h, w) and times t (B,) in [0, 1].

        h and w must be multiples of 2^n, where n is the number of stages that halve.
        """
        embedding = self.time(t)
        h = self.in_proj(z_t)
        skips: list[Tensor] = []
        for down in items(self.down, DownStage):
            h = down.block(h, embedding)
            skips.append(h)
            h = down.resample(h)
        for block in self.mid:
            h = block(h, embedding)
        for up in items(self.up, UpStage):
            h = up.block(torch.cat([up.resample(h), skips.pop()], dim=1), embedding)
        velocity: Tensor = self.out_proj(self.out_conv(self.act(self.out_norm(h))))
        return velocity


def _norm(channels: int, config: ModelConfig) -> nn.Module:
    return nn.GroupNorm(_GROUPS, channels) if config.norm == "group" else nn.Identity()
