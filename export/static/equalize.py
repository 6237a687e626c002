"""Cross-layer equalization of the autoencoder's channel ranges, without a change of the function.

A ReLU is positively homogeneous, relu(s x) = s relu(x), so for convolutions A and B (Nagel et al.,
2019)

    B(relu(A(x))) = B'(relu(A'(x)))   with   A' = diag(1/s) A,   B' = B diag(s)

for every s > 0. The same holds, with one common s, for all convolutions that write to and read from
a residual trunk. In int8, an activation has one scale for all channels; if s is near the channel's
maximum, channels with small values use as many levels as those with large ones. Here s = (max of
the activation)^STRENGTH / (max of the weights that read it)^(1 - STRENGTH), scaled to a geometric
mean of 1, so that some of the spread is left to the weights (Xiao et al., 2023). s is rounded to a
power of two, so that the multiplications are exact.

Preconditions: only ReLUs and linear layers between A and B, as in encoder and decoder; the other
parts have SiLUs, which are not homogeneous.
"""

import copy
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import Tensor, nn

from elir_edge.model.autoencoder import AutoencoderBlock
from export.static.unroll import StaticElir

STRENGTH = 0.7
_QUIET = 0.05
"""Channel maxima are at least this fraction of the largest, since dead channels have no range."""

ConvolutionLayer = nn.Conv2d | nn.ConvTranspose2d
_CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)
_PASSING = (nn.ReLU, nn.Upsample, nn.Identity)


@dataclass
class _Trunk:
    """Paths of the convolutions that write to one tensor, and of those that read from it."""

    writers: list[str] = field(default_factory=list)
    readers: list[str] = field(default_factory=list)


@torch.no_grad()
def channel_factors(static: StaticElir, inputs: Iterable[tuple[Tensor, ...]]) -> list[Tensor]:
    """Return the factors s (channels,) of every trunk, from activations on calibration inputs."""
    trunks = _trunks(static)
    loudest: dict[str, Tensor] = {}

    def watch(path: str) -> None:
        def hook(module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
            peak = arguments[0].abs().amax((0, 2, 3))
            loudest[path] = torch.maximum(loudest[path], peak) if path in loudest else peak

        handles.append(static.get_submodule(path).register_forward_pre_hook(hook))

    handles: list[torch.utils.hooks.RemovableHandle] = []
    for path in {path for trunk in trunks for path in trunk.readers}:
        watch(path)
    try:
        for arguments in inputs:
            static.stages(*arguments)
    finally:
        for handle in handles:
            handle.remove()
    return [_factor(static, trunk, loudest) for trunk in trunks]


@torch.no_grad()
def equalize(static: StaticElir, factors: list[Tensor]) -> tuple[StaticElir, int]:
    """Return the model with the factors applied, and the number of trunks."""
    static = copy.deepcopy(static)
    for trunk, factor in zip(_trunks(static), factors, strict=True):
        for path in trunk.writers:
            writer = _convolution(static, path)
            writer.weight.div_(_along(writer, factor.to(writer.weight), output=True))
            if writer.bias is not None:
                writer.bias.div_(factor.to(writer.bias))
        for path in trunk.readers:
            reader = _convolution(static, path)
            reader.weight.mul_(_along(reader, factor.to(reader.weight), output=False))
    return static, len(factors)


def _trunks(static: StaticElir) -> list[_Trunk]:
    """Return the trunks of encoder and decoder."""
    found = []
    for half, layers in (("encoder", static.encoder.layers), ("decoder", static.decoder.layers)):
        assert isinstance(layers, nn.Sequential)
        trunk: _Trunk | None = None
        for i, layer in enumerate(layers):
            path = f"{half}.layers.{i}"
            if isinstance(layer, _CONVOLUTIONS):
                if trunk is not None:
                    trunk.readers.append(path)
                    found.append(trunk)
                trunk = _Trunk(writers=[path])
            elif isinstance(layer, AutoencoderBlock) and trunk is not None:
                convs = [f"{path}.convs.{j}" for j in range(len(layer.convs))]
                trunk.readers.append(convs[0])
                trunk.writers.append(convs[-1])
                found += [_Trunk(writers=[a], readers=[b]) for a, b in pairwise(convs)]
            elif not isinstance(layer, _PASSING):
                trunk = None  # a factor cannot be moved through this layer
    return found


def _factor(static: StaticElir, trunk: _Trunk, loudest: dict[str, Tensor]) -> Tensor:
    activation = torch.stack([loudest[path] for path in trunk.readers]).amax(0)
    weight = torch.stack([_loudest_weight(_convolution(static, p)) for p in trunk.readers]).amax(0)
    if not activation.max() > 0:
        return torch.ones_like(activation)
    activation = activation.maximum(_QUIET * activation.max())
    factor = activation**STRENGTH / weight.clamp_min(1e-6) ** (1 - STRENGTH)
    powers = (factor / factor.log().mean().exp()).log2().round()
    return torch.exp2(powers)


def _loudest_weight(conv: ConvolutionLayer) -> Tensor:
    axes = (0, 2, 3) if isinstance(conv, nn.Conv2d) else (1, 2, 3)
    return conv.weight.abs().amax(axes)


def _along(conv: ConvolutionLayer, factor: Tensor, *, output: bool) -> Tensor:
    """Reshape a factor for a kernel; Conv2d has its outputs first, ConvTranspose2d its inputs."""
    first = output == isinstance(conv, nn.Conv2d)
    return factor[:, None, None, None] if first else factor[None, :, None, None]


def _convolution(static: StaticElir, path: str) -> ConvolutionLayer:
    conv = static.get_submodule(path)
    assert isinstance(conv, _CONVOLUTIONS)
    return conv
