"""Exponential moving average of weights (paper, section 5: decay 0.999)."""

import torch
from torch import Tensor, nn


class WeightAverage:
    """Keeps `average <- decay * average + (1 - decay) * weights` of a module's parameters."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self._decay = decay
        self._parameters = dict(module.named_parameters())
        self.average = {k: p.detach().clone() for k, p in self._parameters.items()}

    def update(self) -> None:
        """Take one step towards the current weights."""
        current = [p.detach() for p in self._parameters.values()]
        torch._foreach_lerp_(list(self.average.values()), current, 1 - self._decay)

    def load(self, average: dict[str, Tensor]) -> None:
        """Continue from a saved average."""
        for key, value in self.average.items():
            value.copy_(average[key])
