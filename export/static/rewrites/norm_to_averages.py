"""Group normalization becomes averages over pixels and 1x1 convolutions.

Let m(x) be the mean over the pixels of each channel, and A the matrix that gives each channel the
mean of its group's channels (A[c, c'] = 1/size if c and c' are in the same group, else 0). Then

    g(x) = A m(x)
    d = x - g(x)
    y = d / sqrt(g(d^2) + eps) * w + b

The usual implementation reshapes the channels into groups, with five axes or three. Delegates on
phones reject five axes, and three leave transposes in channels-last graphs.

Precondition: the norm has a weight and a bias. Norms shared by Euler steps stay shared.
"""

import copy

import torch
from torch import Tensor, nn

from export.static.rewrites.base import RewriteResult, reasons_of
from export.static.unroll import StaticElir


class AveragedNorm(nn.Module):
    """Group normalization without a reshape."""

    def __init__(self, norm: nn.GroupNorm) -> None:
        super().__init__()
        size = norm.num_channels // norm.num_groups
        block = torch.full((size, size), 1 / size, dtype=norm.weight.dtype)
        averages = torch.kron(torch.eye(norm.num_groups, dtype=norm.weight.dtype), block)
        self.average = nn.Conv2d(
            norm.num_channels, norm.num_channels, 1, bias=False, dtype=norm.weight.dtype
        )
        # Four axes, since the TFLite converter adds transposes for constants with fewer axes.
        self.weight = nn.Parameter(norm.weight.detach()[None, :, None, None].clone())
        self.bias = nn.Parameter(norm.bias.detach()[None, :, None, None].clone())
        self.eps = norm.eps
        with torch.no_grad():
            self.average.weight.copy_(averages[:, :, None, None])

    def forward(self, x: Tensor) -> Tensor:
        """Normalize x (B, C, h, w)."""
        centred = x - self._of_groups(x)
        factor = torch.rsqrt(self._of_groups(centred * centred) + self.eps) * self.weight
        return centred * factor + self.bias

    def _of_groups(self, x: Tensor) -> Tensor:
        averages: Tensor = self.average(x.mean(dim=(2, 3), keepdim=True))
        return averages


def norm_to_averages(static: StaticElir) -> RewriteResult:
    """Return the model with every group normalization replaced."""
    static = copy.deepcopy(static)
    replacements: dict[int, AveragedNorm] = {}
    refused: list[tuple[str, str]] = []
    count = 0
    for path, parent in list(static.named_modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.GroupNorm) and not child.affine:
                refused.append((f"{path}.{name}", "affine False, expected True"))
            elif isinstance(child, nn.GroupNorm):
                if id(child) not in replacements:
                    replacements[id(child)] = AveragedNorm(child).requires_grad_(False)
                setattr(parent, name, replacements[id(child)])
                count += 1
    return RewriteResult(
        static=static,
        count=count,
        refusals=reasons_of(refused, count=count, none="there is no group normalization"),
    )
