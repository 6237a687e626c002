"""A transposed convolution with kernel 2 and stride 2 becomes a 1x1 convolution and pixel shuffle.

Its windows do not overlap, so each output pixel depends on one input pixel:

    y[o, 2i + a, 2j + b] = sum_c x[c, i, j] W[c, o, a, b] + bias[o]

This is a 1x1 convolution with outputs (o, a, b), followed by a pixel shuffle that arranges each
group of four outputs as 2x2 pixels. Runtimes have int8 kernels for convolutions, but not for
transposed ones.

Preconditions: kernel 2, stride 2, no padding, no groups. Kernels shared by Euler steps stay shared.
"""

import torch
from torch import nn

from export.static.rewrites.base import RewriteResult, mismatch, replace_transposed
from export.static.unroll import StaticElir


def transpose_to_shuffle(static: StaticElir) -> RewriteResult:
    """Return the model with every such layer of the decoder and the vector field replaced."""
    return replace_transposed(static, _refusal, as_shuffle)


def as_shuffle(transposed: nn.Module) -> nn.Sequential:
    """Return the two layers that equal a transposed convolution with kernel and stride 2."""
    assert isinstance(transposed, nn.ConvTranspose2d)
    weight = transposed.weight
    conv = nn.Conv2d(
        transposed.in_channels,
        4 * transposed.out_channels,
        1,
        bias=transposed.bias is not None,
        dtype=weight.dtype,
    )
    with torch.no_grad():
        conv.weight.copy_(weight.permute(1, 2, 3, 0).flatten(0, 2)[..., None, None])
        if transposed.bias is not None and conv.bias is not None:
            conv.bias.copy_(transposed.bias.repeat_interleave(4))
    return nn.Sequential(conv, nn.PixelShuffle(2)).requires_grad_(False)


def _refusal(layer: nn.ConvTranspose2d) -> str | None:
    return mismatch(
        layer,
        kernel_size=(2, 2),
        stride=(2, 2),
        padding=(0, 0),
        output_padding=(0, 0),
        dilation=(1, 1),
        groups=1,
    )
