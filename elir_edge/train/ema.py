"""Exponential moving average of weights (paper, section 5: decay 0.999)."""

import math

import torch
from torch import Tensor, nn


class WeightAverage:
    """The moving average `average <- d * average + (1 - d) * weights` of a module's parameters.

    Args:
        module: the module whose parameters are averaged.
        decay: the limit of d after many updates.
        warmup: n in d = decay * (1 - exp(-updates / n)); 0: d is `decay` from the start.
    """

    def __init__(self, module: nn.Module, decay: float, warmup: int = 0) -> None:
        self._decay, self._warmup = decay, warmup
        self._parameters = dict(module.named_parameters())
        self.average = {k: p.detach().clone() for k, p in self._parameters.items()}

    def update(self, updates: int) -> None:
        """Update the average with the current weights; this is update number `updates` (from 1)."""
        current = [p.detach() for p in self._parameters.values()]
        weight = 1 - self.decay_at(updates)
        torch._foreach_lerp_(list(self.average.values()), current, weight)

    def decay_at(self, updates: int) -> float:
        """Return d of update number `updates`, counted from 1."""
        if not self._warmup:
            return self._decay
        return self._decay * (1 - math.exp(-updates / self._warmup))

    def load(self, average: dict[str, Tensor]) -> None:
        """Replace the average by a saved one."""
        for key, value in self.average.items():
            value.copy_(average[key])
