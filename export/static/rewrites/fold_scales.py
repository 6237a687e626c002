"""Constant factors are folded into adjacent weights.

    x + 0.2 conv(h; W, b)        = x + conv(h; 0.2 W, 0.2 b)        dense blocks of the RRDB
    z + (1/K) proj(h; W, b)      = z + proj(h; W/K, b/K)            Euler steps
    conv(3 tanh(z/3); W, b)      = conv(tanh(z/3); 3 W, b)          decoder

Precondition: the factor multiplies only a convolution's input or output. The outer factor of an
RRDB multiplies a sum whose first term is the block's input, so it cannot be folded and stays.
"""

import copy

import torch
from torch import nn

from elir_edge.model.coarse import DenseBlock, ResidualDenseBlock
from elir_edge.model.typed import items
from export.static.rewrites.base import RewriteResult
from export.static.unroll import StaticElir, StaticStep


def fold_scales(static: StaticElir) -> RewriteResult:
    """Return the model without the factors named above."""
    static = copy.deepcopy(static)
    count = 0
    for rrdb in items(static.coarse.blocks, ResidualDenseBlock):
        for block in items(rrdb.dense, DenseBlock):
            if block.scale != 1:
                scale_convolution(block.convs[-1], block.scale)
                block.scale = 1.0
                count += 1
    scaled: dict[int, nn.Module] = {}
    for step in items(static.steps, StaticStep):
        if step.scale != 1:
            shared = id(step.out_proj)
            if shared not in scaled:
                scaled[shared] = copy.deepcopy(step.out_proj)
                scale_convolution(scaled[shared], step.scale)
            step.out_proj, step.scale = scaled[shared], 1.0
            count += 1
    if static.decoder.limit != 1:
        first = static.decoder.layers[0]
        assert isinstance(first, nn.Conv2d)
        with torch.no_grad():
            first.weight.mul_(static.decoder.limit)
        static.decoder.limit = 1.0
        count += 1
    refusals = () if count else ("there is no factor next to a convolution",)
    return RewriteResult(static=static, count=count, refusals=refusals)


def scale_convolution(conv: nn.Module, factor: float) -> None:
    """Scale a convolution's weight and bias by a factor, in place."""
    assert isinstance(conv, nn.Conv2d)
    with torch.no_grad():
        conv.weight.mul_(factor)
        if conv.bias is not None:
            conv.bias.mul_(factor)
