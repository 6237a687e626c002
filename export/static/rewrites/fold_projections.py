"""1x1 convolutions are merged into adjacent convolutions.

    proj(conv(h; W, b); P, p)    = conv(h; P W, P b + p)              the vector field's last two
    skip(proj(z; P, p); S, s)    = skip(z; S P, S p + s)              the first block's skip

Preconditions: no activation between the two convolutions. For the first equation, nothing else
reads the inner result. For the second, the outer convolution is 1x1, so there is no padding between
the two; the block's main branch still needs the inner result, but the skip gets cheaper, since its
input has fewer channels.
"""

import copy

import torch
from torch import nn

from elir_edge.model.typed import items
from export.static.rewrites.base import RewriteResult
from export.static.unroll import StaticBlock, StaticElir, StaticStep


def fold_projections(static: StaticElir) -> RewriteResult:
    """Return the model with merged projections; Euler steps that shared them share the result."""
    static = copy.deepcopy(static)
    composed: dict[tuple[int, int], nn.Conv2d] = {}
    count = 0

    def compose(outer: nn.Module, inner: nn.Module) -> nn.Conv2d:
        key = (id(outer), id(inner))
        if key not in composed:
            composed[key] = compose_projection(outer, inner)
        return composed[key]

    for step in items(static.steps, StaticStep):
        if isinstance(step.out_proj, nn.Conv2d):
            step.out_conv = compose(step.out_proj, step.out_conv)
            step.out_proj = nn.Identity()
            count += 1
        if not step.skip_from_latent:
            first = items(step.down_blocks, StaticBlock)[0]
            first.skip = compose(first.skip, step.in_proj)
            step.skip_from_latent = True
            count += 1
    refusals = () if count else ("the projections are already merged",)
    return RewriteResult(static=static, count=count, refusals=refusals)


def compose_projection(outer: nn.Module, inner: nn.Module) -> nn.Conv2d:
    """Return the single convolution that equals `inner` followed by the 1x1 convolution `outer`."""
    assert isinstance(outer, nn.Conv2d)
    assert isinstance(inner, nn.Conv2d)
    assert outer.bias is not None
    assert inner.bias is not None
    with torch.no_grad():
        projection = outer.weight.double().flatten(1)
        weight = torch.einsum("om,mihw->oihw", projection, inner.weight.double())
        bias = projection @ inner.bias.double() + outer.bias.double()
        result = nn.Conv2d(
            inner.in_channels,
            outer.out_channels,
            (inner.kernel_size[0], inner.kernel_size[1]),
            padding=(int(inner.padding[0]), int(inner.padding[1])),
            dtype=inner.weight.dtype,
        )
        result.weight.copy_(weight)
        assert result.bias is not None
        result.bias.copy_(bias)
    return result.requires_grad_(False)
