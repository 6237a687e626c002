"""The activations that a `ModelConfig` may name."""

from torch import nn

ACTIVATIONS: dict[str, type[nn.Module]] = {"silu": nn.SiLU, "relu": nn.ReLU}


def activation(name: str) -> nn.Module:
    """Return a new activation module; `ModelConfig` has already checked the name."""
    return ACTIVATIONS[name]()
