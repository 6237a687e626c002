"""Quantization-aware training: activations are rounded as on a chip with 8-bit convolutions.

On the IMX500, every convolution reads its input in 8 bits with a power-of-two scale. A network that
is trained with this rounding loses less when it is quantized.
"""

from typing import Any

import torch
from torch import Tensor, nn

_LEVELS = 256


class _Round(torch.autograd.Function):
    """Round to a grid; the gradient passes unchanged (straight-through estimator)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, step: Tensor, low: int) -> Tensor:
        """Round x to a multiple of `step`, clipped to [low, low + 255] steps."""
        return torch.round(x / step).clamp_(low, low + _LEVELS - 1).mul_(step)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        """Return the gradient unchanged."""
        return gradients[0], None, None


def round_to_8_bits(x: Tensor) -> Tensor:
    """Return x rounded to 256 levels whose range is the smallest power of two that covers x.

    The levels are unsigned if x has no negative value.
    """
    low, high = (extreme.float() for extreme in torch.aminmax(x.detach()))
    signed = bool(low < 0)
    largest = torch.maximum(-low, high).clamp_min(1e-6)
    threshold = torch.exp2(torch.ceil(torch.log2(largest)))
    step = threshold / (_LEVELS // 2 if signed else _LEVELS)
    rounded: Tensor = _Round.apply(x, step.to(x.dtype), -_LEVELS // 2 if signed else 0)  # type: ignore[no-untyped-call]
    return rounded


def round_inputs_of_convolutions(model: nn.Module) -> None:
    """Add hooks that round the input of every convolution of a model to 8 bits."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            module.register_forward_pre_hook(_rounded_input)


def _rounded_input(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (round_to_8_bits(inputs[0]), *inputs[1:])
