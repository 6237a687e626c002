"""Rounding to 8 bits while training: the chip's grid, and gradients that pass."""

import pytest
import torch
from torch import nn

from elir_edge.train.rounding import round_inputs_of_convolutions, round_to_8_bits


def test_the_grid_is_a_power_of_two_that_holds_the_values() -> None:
    x = torch.tensor([0.0, 0.3, 2.7])
    rounded = round_to_8_bits(x)
    step = 4 / 256  # unsigned: 256 levels up to 4
    assert torch.equal(rounded, torch.round(x / step) * step)
    signed = round_to_8_bits(torch.cat([x, -x]))
    step = 4 / 128
    assert torch.equal(signed[:3], torch.round(x / step) * step)
    # The twin: values on a grid stay, others do not.
    assert torch.equal(round_to_8_bits(rounded), rounded)
    assert not torch.equal(rounded, x)


def test_gradients_pass_as_if_nothing_had_happened() -> None:
    x = torch.linspace(-1, 1, 7, requires_grad=True)
    (3 * round_to_8_bits(x)).sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, torch.full_like(x, 3))


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_constants_survive(value: float) -> None:
    x = torch.full((4,), value)
    assert torch.allclose(round_to_8_bits(x), x, atol=1 / 255)


def test_every_convolution_reads_rounded_inputs() -> None:
    conv = nn.Conv2d(1, 1, 1, bias=False)
    conv.weight.data.fill_(1)
    model = nn.Sequential(conv, nn.ReLU())
    x = torch.rand(1, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    plain = model(x)
    round_inputs_of_convolutions(model)
    assert torch.equal(model(x), round_to_8_bits(x))
    assert not torch.equal(model(x), plain)
