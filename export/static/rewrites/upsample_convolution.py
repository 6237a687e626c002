"""Nearest x2 upsampling and the 3x3 convolution after it become one transposed convolution.

After the upsampling, each 3x3 window holds only 2x2 different pixels, so 4 products per output
and channel pair suffice instead of 9. Along one axis, with taps w0, w1, w2 and zero padding,

    y[2i]     = w0 x[i-1] + (w1 + w2) x[i]
    y[2i + 1] = (w0 + w1) x[i] + w2 x[i+1]

which is a transposed convolution with stride 2, padding 1 and the four taps
(w2, w1 + w2, w0 + w1, w0). In two dimensions, the sums apply to rows and columns.

Preconditions: mode nearest, factor 2, directly followed by a 3x3 convolution (stride 1, padding 1).
"""

import copy

import torch
from torch import Tensor, nn

from export.static.rewrites.base import RewriteResult, mismatch, reasons_of
from export.static.unroll import StaticElir

_TAPS = torch.tensor([[0, 0, 1], [0, 1, 1], [1, 1, 0], [1, 0, 0]], dtype=torch.float64)


def upsample_convolution(static: StaticElir) -> RewriteResult:
    """Return the model with every such pair of the decoder replaced."""
    static = copy.deepcopy(static)
    layers = list(static.decoder.layers)
    total = len(layers)
    result: list[nn.Module] = []
    refused: list[tuple[str, str]] = []
    count = 0
    while layers:
        layer = layers.pop(0)
        if isinstance(layer, nn.Upsample):
            refusal = _refusal(layer, layers[0] if layers else None)
            if refusal is None:
                result.append(as_transposed(layers.pop(0)))
                count += 1
                continue
            refused.append((f"decoder.layers.{total - len(layers) - 1}", refusal))
        result.append(layer)
    static.decoder.layers = nn.Sequential(*result)
    none = "the decoder has no upsampling of nearest neighbours"
    return RewriteResult(
        static=static, count=count, refusals=reasons_of(refused, count=count, none=none)
    )


def as_transposed(conv: nn.Module) -> nn.ConvTranspose2d:
    """Return the transposed convolution that equals `conv` after nearest x2 upsampling."""
    assert isinstance(conv, nn.Conv2d)
    weight: Tensor = torch.einsum("rh,oihw,cw->iorc", _TAPS, conv.weight.double(), _TAPS)
    result = nn.ConvTranspose2d(
        conv.in_channels,
        conv.out_channels,
        4,
        stride=2,
        padding=1,
        bias=conv.bias is not None,
        dtype=conv.weight.dtype,
    )
    with torch.no_grad():
        result.weight.copy_(weight)
        if conv.bias is not None and result.bias is not None:
            result.bias.copy_(conv.bias)
    return result.requires_grad_(False)


def _refusal(upsample: nn.Upsample, follower: nn.Module | None) -> str | None:
    if not isinstance(follower, nn.Conv2d):
        return f"{type(follower).__name__} follows, expected Conv2d"
    return mismatch(upsample, mode="nearest", scale_factor=2) or mismatch(
        follower, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1), dilation=(1, 1), groups=1
    )
