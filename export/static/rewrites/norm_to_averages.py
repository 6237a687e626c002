"""Group normalization becomes averages of pixels and 1x1 convolutions.

With m(x) the mean over the pixels of each channel and A the matrix that averages each group's
channels and hands every channel its group's average (A[c, c'] = 1/size where c and c' share a
group, else 0),

    g(x) = A m(x)
    d = x - g(x)
    y = d / sqrt(g(d^2) + eps) * w + b

The usual form folds channels into groups by a reshape to five axes, or to three: phones' delegates
reject the first, and the second leaves transposes in graphs whose channels lie last.

Precondition: the norm has a weight and a bias of its own. Norms that steps share stay shared.
"""

import copy

import torch
from torch import Tensor, nn

from export.static.rewrites.rewritten import Rewritten, reasons_of
from export.static.unroll import StaticElir


class AveragedNorm(nn.Module):
    """What a group normalization computes, without a reshape."""

    def __init__(self, norm: nn.GroupNorm) -> None:
        super().__init__()
        size = norm.num_channels // norm.num_groups
        block = torch.full((size, size), 1 / size, dtype=norm.weight.dtype)
        averages = torch.kron(torch.eye(norm.num_groups, dtype=norm.weight.dtype), block)
        self.average = nn.Conv2d(
            norm.num_channels, norm.num_channels, 1, bias=False, dtype=norm.weight.dtype
        )
        # With all four axes: the TFLite converter moves constants of fewer by transposes.
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


def norm_to_averages(static: StaticElir) -> Rewritten:
    """Return the model with every group normalization replaced."""
    static = copy.deepcopy(static)
    made: dict[int, AveragedNorm] = {}
    refused: list[tuple[str, str]] = []
    count = 0
    for path, parent in list(static.named_modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.GroupNorm) and not child.affine:
                refused.append((f"{path}.{name}", "affine False, expected True"))
            elif isinstance(child, nn.GroupNorm):
                if id(child) not in made:
                    made[id(child)] = AveragedNorm(child).requires_grad_(False)
                setattr(parent, name, made[id(child)])
                count += 1
    return Rewritten(
        static=static,
        count=count,
        refusals=reasons_of(refused, count=count, none="there is no group normalization"),
    )
