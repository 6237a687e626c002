"""The complete ELIR model (paper, Algorithm 1)."""

import math

import torch
from torch import Tensor, nn

from elir_edge.model.autoencoder import AutoencoderBlock, Decoder, Encoder
from elir_edge.model.coarse import CoarseEstimator
from elir_edge.model.collapsible import CollapsibleConv2d
from elir_edge.model.config import ModelConfig
from elir_edge.model.velocity import ResidualBlock, VelocityUNet


class Elir(nn.Module):
    """Encoder, coarse estimator, K Euler steps of the vector field, decoder.

    Parts that the configuration leaves out (paper, Tables 5 and 7) are the identity.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        latent, flows = config.space == "latent", config.num_steps > 0
        self.encoder: nn.Module = Encoder(config) if latent else nn.Identity()
        self.coarse = CoarseEstimator(config)
        self.velocity: nn.Module = VelocityUNet(config) if flows else nn.Identity()
        self.decoder: nn.Module = Decoder(config) if latent else nn.Identity()

    @property
    def size_multiple(self) -> int:
        """The number of pixels that image height and width must be multiples of."""
        return self.config.size_multiple

    def initial_point(self, image: Tensor) -> Tensor:
        """Return z = g_phi(E_omega(y)) (B, C, H/8, W/8) for images y (B, 3, H, W) in [0, 1]."""
        z: Tensor = self.coarse(self.encoder(image))
        return z

    def trajectory(self, z_0: Tensor, num_steps: int | None = None) -> list[Tensor]:
        """Return [z_0, z_1/M, ..., z_1]: forward Euler from z_0 in M steps (default: K)."""
        num_steps = self.config.num_steps if num_steps is None else num_steps
        states = [z_0]
        for step in range(num_steps):
            t = torch.full((len(z_0),), step / num_steps, dtype=z_0.dtype, device=z_0.device)
            states.append(states[-1] + self.velocity(states[-1], t) / num_steps)
        return states

    def forward(self, image: Tensor, noise: Tensor) -> Tensor:
        """Restore images (B, 3, H, W) in [0, 1]; the result is not clamped.

        Args:
            image: degraded images; H and W are multiples of `size_multiple`.
            noise: a sample of sigma_s N(0, I), shape (B, C, H/8, W/8) or broadcastable to it.
        """
        restored: Tensor = self.decoder(self.trajectory(self.initial_point(image) + noise)[-1])
        return restored


def draw_noise(
    config: ModelConfig, height: int, width: int, *, batch: int = 1, seed: int = 0
) -> Tensor:
    """Return a seeded sample of sigma_s N(0, I) for height x width images, float32 on the CPU."""
    generator = torch.Generator().manual_seed(seed)
    factor = config.latent_factor
    shape = (batch, config.latent_channels, height // factor, width // factor)
    return config.sigma_s * torch.randn(shape, generator=generator)


def initialize(module: nn.Module, generator: torch.Generator) -> None:
    """Initialise all weights in place with random numbers from `generator`.

    All layers get He initialisation; the collapsed kernel of a collapsible block has the variance
    of the plain convolution that it replaces. Residual branches and the velocity's last projection
    start small, because the project's own variants have no norms that keep deep activations in
    range.
    """
    for name, child in module.named_modules():
        if isinstance(child, nn.ConvTranspose2d):
            fan_in = child.in_channels * math.prod(child.kernel_size) / math.prod(child.stride)
            _draw(child, 1.0 / fan_in, generator)
        elif isinstance(child, nn.Conv2d | nn.Linear):
            fan_in = child.weight[0].numel()
            _draw(child, (1.0 if _is_linear_path(name) else 2.0) / fan_in, generator)
    for child in module.modules():
        for branch_end in _residual_ends(child):
            branch_end.weight.data.mul_(_RESIDUAL_GAIN)


_RESIDUAL_GAIN = 0.1


def _is_linear_path(name: str) -> bool:
    """Tell whether no activation follows the layer."""
    return name.endswith(("skip", "proj", "project", "time"))


def _draw(layer: nn.Module, variance: float, generator: torch.Generator) -> None:
    weight, bias = layer.weight, layer.bias
    assert isinstance(weight, Tensor)
    with torch.no_grad():
        weight.copy_(torch.randn(weight.shape, generator=generator) * math.sqrt(variance))
        if isinstance(bias, Tensor):
            bias.zero_()


def _residual_ends(module: nn.Module) -> list[nn.Conv2d]:
    ends: list[nn.Module] = []
    if isinstance(module, AutoencoderBlock):
        ends.append(module.convs[-1])
    elif isinstance(module, ResidualBlock):
        ends.append(module.conv2)
    elif isinstance(module, VelocityUNet):
        ends.append(module.out_proj)
    plain = [end.project if isinstance(end, CollapsibleConv2d) else end for end in ends]
    return [end for end in plain if isinstance(end, nn.Conv2d)]
