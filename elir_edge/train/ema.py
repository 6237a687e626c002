"""Exponential moving average of weights (paper, section 5: decay 0.999)."""

import math

import torch
from torch import Tensor, nn


class WeightAverage:
    """Keeps `average <- d * average + (1 - d) * weights` of a module's parameters.

    Args:
        module: whose weights are averaged.
        decay: what d is in the long run.
        warmup: n of d = decay * (1 - exp(-updates / n)); 0: d is `decay` from the start.
    """

    def __init__(self, module: nn.Module, decay: float, warmup: int = 0) -> None:
        self._decay, self._warmup = decay, warmup
        self._parameters = dict(module.named_parameters())
        self.average = {k: p.detach().clone() for k, p in self._parameters.items()}

    def update(self, updates: int) -> None:
        """Take one step towards the current weights; it is the `updates`-th, from 1."""
        current = [p.detach() for p in self._parameters.values()]
        weight = 1 - self.decay_at(updates)
        torch._foreach_lerp_(list(self.average.values()), current, weight)

    def decay_at(self, updates: int) -> float:
        """Return d of the `updates`-th step, from 1."""
        if not self._warmup:
            return self._decay
        return self._decay * (1 - math.exp(-updates / self._warmup))

    def load(self, average: dict[str, Tensor]) -> None:
        """Continue from a saved average."""
        for key, value in self.average.items():
            value.copy_(average[key])
