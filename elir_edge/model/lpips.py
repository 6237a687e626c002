"""LPIPS on SqueezeNet 1.1 (Zhang et al., 2018, version 0.1): perceptual distance of two images.

Both images pass through a classification network (Iandola et al., 2016). At seven layers, the
feature vector of each position is scaled to unit length; the squared differences are weighted per
channel and averaged over positions. The distance is the sum over the layers: 0 for equal images,
larger for images that look less alike.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_SHIFT = (-0.030, -0.088, -0.188)
_SCALE = (0.458, 0.448, 0.450)
_TAPS = (1, 4, 7, 9, 10, 11, 12)
"""Indices of the layers whose outputs are compared."""
_TAP_CHANNELS = (64, 128, 256, 384, 384, 512, 512)
_EPSILON = 1e-10
"""Its square is added under the square root, so that the gradient is finite at zero features."""


class _Fire(nn.Module):
    """A 1x1 convolution to few channels, then a 1x1 and a 3x3 convolution in parallel."""

    def __init__(self, in_channels: int, squeezed: int, expanded: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(in_channels, squeezed, 1)
        self.expand1x1 = nn.Conv2d(squeezed, expanded, 1)
        self.expand3x3 = nn.Conv2d(squeezed, expanded, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map x (B, in, h, w) to (B, 2 * expanded, h, w)."""
        h = F.relu(self.squeeze(x))
        return F.relu(torch.cat([self.expand1x1(h), self.expand3x3(h)], dim=1))


def _pool() -> nn.MaxPool2d:
    return nn.MaxPool2d(3, stride=2, ceil_mode=True)


class LpipsSqueeze(nn.Module):
    """LPIPS distance of two images in SqueezeNet's features; the weights are frozen."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 64, 3, stride=2),
            nn.ReLU(),
            _pool(),
            _Fire(64, 16, 64),
            _Fire(128, 16, 64),
            _pool(),
            _Fire(128, 32, 128),
            _Fire(256, 32, 128),
            _pool(),
            _Fire(256, 48, 192),
            _Fire(384, 48, 192),
            _Fire(384, 64, 256),
            _Fire(512, 64, 256),
        )
        for index, channels in enumerate(_TAP_CHANNELS):
            self.register_buffer(f"lin{index}", torch.zeros(channels))
        self.register_buffer("_shift", torch.tensor(_SHIFT).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("_scale", torch.tensor(_SCALE).view(1, 3, 1, 1), persistent=False)
        self.eval().requires_grad_(False)

    def forward(self, image: Tensor, reference: Tensor) -> Tensor:
        """Return the distances (B,) of images (B, 3, H, W) in [0, 1]; H and W are at least 32."""
        pairs = zip(self._unit_features(image), self._unit_features(reference), strict=True)
        distances = []
        for index, (a, b) in enumerate(pairs):
            weights = self.get_buffer(f"lin{index}")
            squared = (a - b).square().mean(dim=(2, 3))
            distances.append(squared @ weights)
        return torch.stack(distances).sum(dim=0)

    def _unit_features(self, image: Tensor) -> list[Tensor]:
        x = (2 * image - 1 - self.get_buffer("_shift")) / self.get_buffer("_scale")
        found = []
        for index, layer in enumerate(self.features):
            x = layer(x)
            if index in _TAPS:
                norm = (x.square().sum(dim=1, keepdim=True) + _EPSILON**2).sqrt()
                found.append(x / norm)
        return found
