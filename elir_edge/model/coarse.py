"""The coarse estimator: a cascade of RRDB blocks on the latent (paper, section 7.3.1)."""

import torch
from torch import Tensor, nn

from elir_edge.model.activation import activation
from elir_edge.model.collapsible import conv3x3
from elir_edge.model.config import ModelConfig

RESIDUAL_SCALE = 0.2
"""Scale of the residual branch at both levels, dense block and RRDB (Wang et al., 2018)."""
_DENSE_BLOCKS = 3
_DENSE_CONVS = 5


class DenseBlock(nn.Module):
    """Five 3x3 convolutions, each reading all earlier outputs: `x + 0.2 conv5([x, h1..h4])`."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        channels, growth = config.latent_channels, config.coarse_width
        self.act = activation(config.activation)
        self.scale = RESIDUAL_SCALE
        self.convs = nn.ModuleList(
            conv3x3(
                channels + i * growth,
                channels if i == _DENSE_CONVS - 1 else growth,
                config.expansion,
            )
            for i in range(_DENSE_CONVS)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map x (B, C, h, w) to the same shape."""
        features = [x]
        for conv in self.convs[:-1]:
            features.append(self.act(conv(torch.cat(features, dim=1))))
        residual: Tensor = self.convs[-1](torch.cat(features, dim=1))
        return x + (residual if self.scale == 1 else self.scale * residual)


class ResidualDenseBlock(nn.Module):
    """RRDB: `x + 0.2 dense3(dense2(dense1(x)))`."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.dense = nn.Sequential(*(DenseBlock(config) for _ in range(_DENSE_BLOCKS)))

    def forward(self, x: Tensor) -> Tensor:
        """Map x (B, C, h, w) to the same shape."""
        refined: Tensor = self.dense(x)
        return x + RESIDUAL_SCALE * refined


class CoarseEstimator(nn.Module):
    """g_phi: maps the degraded image's latent to the posterior mean of the clean image's latent."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.blocks = nn.Sequential(
            *(ResidualDenseBlock(config) for _ in range(config.coarse_blocks))
        )

    def forward(self, latent: Tensor) -> Tensor:
        """Map a latent (B, C, h, w) to the same shape: `z + blocks(z)`, or z without blocks."""
        if not len(self.blocks):
            return latent
        refined: Tensor = self.blocks(latent)
        return latent + refined
