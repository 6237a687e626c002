"""The last 3x3 convolution to three channels computes blocks of 4x4 pixels.

At full resolution, a convolution with three output channels uses few of the arithmetic units.
Instead, the 16 pixels of a 4x4 block become channels of one convolution with stride 4. Pixel (a, b)
of block (i, j) needs the window that starts at (4i + a - 1, 4j + b - 1), so its 3x3 kernel lies at
offset (a, b) in a 6x6 kernel that starts at (4i - 1, 4j - 1):

    W'[(o, a, b), c, a + r, b + s] = W[o, c, r, s]

and zero elsewhere. This takes four times the products, but in shapes that suit the units.

Preconditions: the decoder ends in a 3x3 convolution with stride 1 and zero padding of 1, to at most
4 channels. The image's sides must be multiples of 4; a decoder gives multiples of 8.
"""

import copy

import torch
from torch import nn

from export.static.rewrites.base import RewriteResult, mismatch
from export.static.unroll import StaticElir

_BLOCK = 4
_MAX_OUTPUTS = 4


def last_convolution(static: StaticElir) -> RewriteResult:
    """Return the model with the decoder's last layer replaced, if it meets the preconditions."""
    static = copy.deepcopy(static)
    layers = list(static.decoder.layers)
    refusal = _refusal(layers[-1])
    if refusal is not None:
        last = f"decoder.layers.{len(layers) - 1}"
        return RewriteResult(static=static, count=0, refusals=(f"{last}: {refusal}",))
    static.decoder.layers = nn.Sequential(*layers[:-1], as_blocks(layers[-1]))
    return RewriteResult(static=static, count=1)


def as_blocks(conv: nn.Module) -> nn.Sequential:
    """Return the stride-4 convolution and pixel shuffle that equal a 3x3 convolution."""
    assert isinstance(conv, nn.Conv2d)
    out, within = conv.out_channels, conv.in_channels
    side = _BLOCK + 2
    result = nn.Conv2d(
        within,
        out * _BLOCK * _BLOCK,
        side,
        stride=_BLOCK,
        padding=1,
        bias=conv.bias is not None,
        dtype=conv.weight.dtype,
    )
    weight = torch.zeros(out, _BLOCK, _BLOCK, within, side, side, dtype=conv.weight.dtype)
    for a in range(_BLOCK):
        for b in range(_BLOCK):
            weight[:, a, b, :, a : a + 3, b : b + 3] = conv.weight.detach()
    with torch.no_grad():
        result.weight.copy_(weight.flatten(0, 2))
        if conv.bias is not None and result.bias is not None:
            result.bias.copy_(conv.bias.repeat_interleave(_BLOCK * _BLOCK))
    return nn.Sequential(result, nn.PixelShuffle(_BLOCK)).requires_grad_(False)


def _refusal(layer: nn.Module) -> str | None:
    if not isinstance(layer, nn.Conv2d):
        return f"the decoder ends in {type(layer).__name__}, expected Conv2d"
    if layer.out_channels > _MAX_OUTPUTS:
        return f"out_channels {layer.out_channels}, expected at most {_MAX_OUTPUTS}"
    return mismatch(
        layer,
        kernel_size=(3, 3),
        stride=(1, 1),
        padding=(1, 1),
        padding_mode="zeros",
        dilation=(1, 1),
        groups=1,
    )
