"""The tiny autoencoder: images (B, 3, H, W) in [0, 1] to latents (B, C, H/8, W/8) and back."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from elir_edge.model.config import ModelConfig


class AutoencoderBlock(nn.Module):
    """Residual block `relu(x + conv(relu(... conv(x))))` of constant width."""

    def __init__(self, width: int, num_convs: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(num_convs))

    def forward(self, x: Tensor) -> Tensor:
        """Map x (B, width, H, W) to the same shape."""
        h: Tensor = self.convs[0](x)
        for conv in self.convs[1:]:
            h = conv(F.relu(h))
        return F.relu(h + x)


class Encoder(nn.Module):
    """Maps an image in [0, 1] to a latent."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        config = config.of_encoder
        widths, blocks = config.autoencoder_widths, config.autoencoder_blocks
        stride = config.autoencoder_stem_stride
        layers: list[nn.Module] = [nn.Conv2d(3, widths[0], 3, stride=stride, padding=1)]
        layers += [AutoencoderBlock(widths[0], config.autoencoder_convs) for _ in range(blocks[0])]
        for (fine, coarse), num_blocks in zip(pairwise(widths), blocks[1:], strict=True):
            layers.append(nn.Conv2d(fine, coarse, 3, stride=2, padding=1, bias=False))
            layers += [
                AutoencoderBlock(coarse, config.autoencoder_convs) for _ in range(num_blocks)
            ]
        layers.append(nn.Conv2d(widths[-1], config.latent_channels, 3, padding=1))
        self.layers = nn.Sequential(*layers)

    def forward(self, image: Tensor) -> Tensor:
        """Encode images (B, 3, H, W) in [0, 1] to (B, C, H/8, W/8); H and W are multiples of 8."""
        latent: Tensor = self.layers(image)
        return latent


class Decoder(nn.Module):
    """Maps a latent to an image; the output is not clamped to [0, 1]."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        config = config.of_decoder
        widths, blocks = config.autoencoder_widths[::-1], config.autoencoder_blocks[::-1]
        layers: list[nn.Module] = [
            nn.Conv2d(config.latent_channels, widths[0], 3, padding=1),
            nn.ReLU(),
        ]
        layers += [AutoencoderBlock(widths[0], config.autoencoder_convs) for _ in range(blocks[0])]
        for (coarse, fine), num_blocks in zip(pairwise(widths), blocks[1:], strict=True):
            layers += _upsampling(coarse, fine, config.decoder_upsample)
            layers += [AutoencoderBlock(fine, config.autoencoder_convs) for _ in range(num_blocks)]
        head = config.decoder_head_width
        if config.autoencoder_stem_stride == 1:
            layers.append(nn.Conv2d(widths[-1], 3, 3, padding=1))
        elif head:
            layers += [nn.ConvTranspose2d(widths[-1], head, 2, stride=2), nn.ReLU()]
            layers.append(nn.Conv2d(head, 3, 3, padding=1))
        else:
            layers.append(nn.ConvTranspose2d(widths[-1], 3, 2, stride=2))
        self.layers = nn.Sequential(*layers)

    def forward(self, latent: Tensor) -> Tensor:
        """Decode (B, C, h, w) to (B, 3, 8h, 8w); 3 tanh(z / 3) first limits latents to (-3, 3)."""
        image: Tensor = self.layers(3 * torch.tanh(latent / 3))
        return image


def _upsampling(coarse: int, fine: int, kind: str) -> list[nn.Module]:
    if kind == "transpose2":
        return [nn.ConvTranspose2d(coarse, fine, 2, stride=2)]
    return [nn.Upsample(scale_factor=2), nn.Conv2d(coarse, fine, 3, padding=1, bias=False)]
