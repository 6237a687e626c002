"""A transposed convolution with kernel 4, stride 2, padding 1 becomes four 2x2 convolutions.

Along one axis, output pixel 2i + a takes two input pixels:

    y[2i]     = x[i - 1] w3 + x[i] w1
    y[2i + 1] = x[i] w2     + x[i + 1] w0

with zeros outside: a convolution with two taps and one pixel of padding before (a = 0) or behind
(a = 1). In two dimensions there are four of them, one for each (a, b); their outputs side by side
as channels (o, a, b), then shuffled to pixels, are the transposed convolution's. Runtimes have int8
kernels for convolutions, not for transposed ones.

Preconditions: kernel 4, stride 2, padding 1, no groups. Kernels that steps share stay shared.
"""

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from elir_edge.model.typed import items
from export.prepare import StaticElir, StaticStep

_TAPS = ((3, 1), (2, 0))
"""Per phase, the kernel's index for the first and the second of its two pixels."""


class PhaseConvolution(nn.Module):
    """Four 2x2 convolutions, one for each place in a 2x2 block of output pixels."""

    def __init__(self, transposed: nn.ConvTranspose2d) -> None:
        super().__init__()
        self.phases = nn.ModuleList(_phase(transposed, a, b) for a in range(2) for b in range(2))
        self.out_channels = transposed.out_channels

    def forward(self, x: Tensor) -> Tensor:
        """Map x (B, in, h, w) to (B, out, 2h, 2w)."""
        planes = []
        for i, phase in enumerate(self.phases):
            a, b = divmod(i, 2)
            planes.append(phase(F.pad(x, (1 - b, b, 1 - a, a))))
        batch, _, height, width = planes[0].shape
        stacked = torch.stack(planes, dim=2)
        result: Tensor = F.pixel_shuffle(stacked.reshape(batch, -1, height, width), 2)
        return result


def transpose_to_phases(static: StaticElir) -> tuple[StaticElir, int]:
    """Return the model with every such layer of decoder and vector field replaced."""
    static = copy.deepcopy(static)
    made: dict[int, nn.Module] = {}
    count = 0

    def replaced(layer: nn.Module) -> nn.Module:
        nonlocal count
        if not _fits(layer):
            return layer
        assert isinstance(layer, nn.ConvTranspose2d)
        count += 1
        if id(layer) not in made:
            made[id(layer)] = PhaseConvolution(layer).requires_grad_(False)
        return made[id(layer)]

    static.decoder.layers = nn.Sequential(*(replaced(layer) for layer in static.decoder.layers))
    for step in items(static.steps, StaticStep):
        step.up_resamples = nn.ModuleList(replaced(layer) for layer in step.up_resamples)
    return static, count


def _phase(transposed: nn.ConvTranspose2d, a: int, b: int) -> nn.Conv2d:
    weight = transposed.weight.detach()
    conv = nn.Conv2d(
        transposed.in_channels,
        transposed.out_channels,
        2,
        bias=transposed.bias is not None,
        dtype=weight.dtype,
    )
    with torch.no_grad():
        taps = weight[:, :, list(_TAPS[a])][:, :, :, list(_TAPS[b])]
        conv.weight.copy_(taps.transpose(0, 1))
        if transposed.bias is not None and conv.bias is not None:
            conv.bias.copy_(transposed.bias)
    return conv


def _fits(layer: nn.Module) -> bool:
    return (
        isinstance(layer, nn.ConvTranspose2d)
        and layer.kernel_size == (4, 4)
        and layer.stride == (2, 2)
        and layer.padding == (1, 1)
        and layer.output_padding == (0, 0)
        and layer.dilation == (1, 1)
        and layer.groups == 1
    )
