"""A transposed convolution with kernel 4, stride 2, padding 1 becomes four 2x2 convolutions.

Along one axis, output pixel 2i + a depends on two input pixels:

    y[2i]     = x[i - 1] w3 + x[i] w1
    y[2i + 1] = x[i] w2     + x[i + 1] w0

with zeros outside the image. This is a convolution with two taps and one pixel of padding before
(a = 0) or after (a = 1) the image. In two dimensions there are four convolutions, one for each
(a, b). Their outputs, concatenated as channels (o, a, b) and pixel-shuffled, equal the transposed
convolution's. Runtimes have int8 kernels for convolutions, but not for transposed ones.

Preconditions: kernel 4, stride 2, padding 1, no groups. Kernels shared by Euler steps stay shared.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from export.static.rewrites.base import RewriteResult, mismatch, replace_transposed
from export.static.unroll import StaticElir

_TAPS = ((3, 1), (2, 0))
"""For each phase a, the kernel indices of its first and its second input pixel."""


class PhaseConvolution(nn.Module):
    """Four 2x2 convolutions, one for each position in a 2x2 block of output pixels."""

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


def transpose_to_phases(static: StaticElir) -> RewriteResult:
    """Return the model with every such layer of the decoder and the vector field replaced."""
    return replace_transposed(
        static, _refusal, lambda layer: PhaseConvolution(layer).requires_grad_(False)
    )


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


def _refusal(layer: nn.ConvTranspose2d) -> str | None:
    return mismatch(
        layer,
        kernel_size=(4, 4),
        stride=(2, 2),
        padding=(1, 1),
        output_padding=(0, 0),
        dilation=(1, 1),
        groups=1,
    )
