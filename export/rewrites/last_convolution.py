"""The last 3x3 convolution to three channels makes 4x4 pixels at once.

At full resolution a convolution with three outputs uses a small part of the arithmetic units. Let
all 16 pixels of a 4x4 block be channels of one convolution with stride 4: pixel (a, b) of block
(i, j) needs the window from (4i + a - 1, 4j + b - 1) on, so its 3x3 kernel lies at offset (a, b) in
one of 6x6 that begins at (4i - 1, 4j - 1),

    W'[(o, a, b), c, a + r, b + s] = W[o, c, r, s]

and zero elsewhere. Four times the products, in shapes that the units are made for.

Preconditions: the decoder ends in a 3x3 convolution with stride 1 and one pixel of zeros around, to
at most 4 channels. The image's sides must be multiples of 4; a decoder makes multiples of 8.
"""

import copy

import torch
from torch import nn

from export.prepare import StaticElir

_BLOCK = 4
_MAX_OUTPUTS = 4


def last_convolution(static: StaticElir) -> tuple[StaticElir, int]:
    """Return the model with the decoder's last layer replaced, where it fits."""
    static = copy.deepcopy(static)
    layers = list(static.decoder.layers)
    if not _fits(layers[-1]):
        return static, 0
    static.decoder.layers = nn.Sequential(*layers[:-1], as_blocks(layers[-1]))
    return static, 1


def as_blocks(conv: nn.Module) -> nn.Sequential:
    """Return the convolution with stride 4 and the shuffle that equal a 3x3 convolution."""
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


def _fits(layer: nn.Module) -> bool:
    return (
        isinstance(layer, nn.Conv2d)
        and layer.out_channels <= _MAX_OUTPUTS
        and layer.kernel_size == (3, 3)
        and layer.stride == (1, 1)
        and layer.padding == (1, 1)
        and layer.padding_mode == "zeros"
        and layer.dilation == (1, 1)
        and layer.groups == 1
    )
