"""The activations a configuration may name."""

from torch import nn

ACTIVATIONS: dict[str, type[nn.Module]] = {"silu": nn.SiLU, "relu": nn.ReLU}


def activation(name: str) -> nn.Module:
    """Return a new activation module; `ModelConfig` has checked the name."""
    return ACTIVATIONS[name]()
