"""Collapsible linear blocks (Bhardwaj et al., 2022; paper, section 7.3.2).

During training, a 3x3 convolution is replaced by two: a 3x3 convolution to `expansion` times the
output width, then a 1x1 convolution. Nothing between the two is non-linear, so the pair equals one
3x3 convolution

    W[o, i] = sum_m P[o, m] E[m, i],    b[o] = sum_m P[o, m] e[m] + p[o]

where E, e are the kernel and bias of the expanding convolution, and P, p those of the projecting
one. Zero padding comes before the first convolution in both forms, so they also agree at image
borders. `CollapsibleConv2d` computes W and b in the forward pass and convolves once: same function,
same gradients, a fraction of the work.
"""

import contextlib
import copy
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class CollapsibleConv2d(nn.Module):
    """A 3x3 convolution (stride 1, padding 1), stored as an expanding and a projecting kernel."""

    def __init__(self, in_channels: int, out_channels: int, expansion: int) -> None:
        super().__init__()
        hidden = expansion * out_channels
        self.expand = nn.Conv2d(in_channels, hidden, 3, padding=1)
        self.project = nn.Conv2d(hidden, out_channels, 1)
        self.keeps_kernel = False
        self._kernel: tuple[Tensor, Tensor] | None = None

    def collapsed_parameters(self) -> tuple[Tensor, Tensor]:
        """Return the weight (O, I, 3, 3) and bias (O,) of the equivalent single convolution."""
        projection = self.project.weight.flatten(1)
        weight = (projection @ self.expand.weight.flatten(1)).view(
            self.project.out_channels, self.expand.in_channels, 3, 3
        )
        expand_bias, project_bias = self.expand.bias, self.project.bias
        assert expand_bias is not None
        assert project_bias is not None
        return weight, projection @ expand_bias + project_bias

    def forward(self, x: Tensor) -> Tensor:
        """Convolve x (B, I, H, W) once with the collapsed kernel."""
        weight, bias = self._kept_parameters() if self.keeps_kernel else self.collapsed_parameters()
        return F.conv2d(x, weight, bias, padding=1)

    def keep_kernel(self, keep: bool) -> None:
        """Start or stop caching the collapsed kernel (see `collapsed_once`); drop any cache."""
        self.keeps_kernel, self._kernel = keep, None

    def _kept_parameters(self) -> tuple[Tensor, Tensor]:
        """Return the cached kernel; recompute it if it lacks the gradient that is now needed."""
        kept = self._kernel
        wanted = torch.is_grad_enabled() and self.project.weight.requires_grad
        if kept is None or (wanted and not kept[0].requires_grad):
            kept = self._kernel = self.collapsed_parameters()
        return kept


@contextlib.contextmanager
def collapsed_once(model: nn.Module) -> Iterator[None]:
    """Compute every collapsed kernel only once within the `with` block.

    The weights must not change within it. It is meant for one training step, whose passes at t,
    t + dt and the segment's end share the kernels. Values and gradients stay the same.
    """
    blocks = [module for module in model.modules() if isinstance(module, CollapsibleConv2d)]
    for block in blocks:
        block.keep_kernel(True)
    try:
        yield
    finally:
        for block in blocks:
            block.keep_kernel(False)


def expanded_forward(block: CollapsibleConv2d, x: Tensor) -> Tensor:
    """Apply the two convolutions one after the other: the slow reference for tests."""
    result: Tensor = block.project(block.expand(x))
    return result


def conv3x3(in_channels: int, out_channels: int, expansion: int) -> nn.Module:
    """Return a 3x3 convolution, collapsible when `expansion` is not zero."""
    if expansion:
        return CollapsibleConv2d(in_channels, out_channels, expansion)
    return nn.Conv2d(in_channels, out_channels, 3, padding=1)


def collapse(model: nn.Module) -> nn.Module:
    """Return a copy of `model` in which every collapsible block is one plain convolution.

    Kernels are multiplied in float64, so the copy differs from the original by rounding only.
    """
    model = copy.deepcopy(model)
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, CollapsibleConv2d):
                setattr(parent, name, _collapse_block(child))
    return model


def _collapse_block(block: CollapsibleConv2d) -> nn.Conv2d:
    original = block.expand.weight
    with torch.no_grad():
        weight, bias = copy.deepcopy(block).double().collapsed_parameters()
        conv = nn.Conv2d(
            block.expand.in_channels,
            block.project.out_channels,
            3,
            padding=1,
            device=original.device,
            dtype=original.dtype,
        )
        conv.weight.copy_(weight)
        assert conv.bias is not None
        conv.bias.copy_(bias)
    return conv
