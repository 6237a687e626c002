"""Euler: K steps of the model's own update converge with first order."""

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from elir_edge.flow.losses import VelocityField
from elir_edge.flow.segments import per_sample
from tests.flow.closed_forms import F64, trajectory


def _growth(rate: float) -> VelocityField:
    return lambda z, t: rate * z


def _cosine(z: Tensor, t: Tensor) -> Tensor:
    return per_sample(torch.cos(t), z).expand_as(z)


def _cosine_at_the_end(z: Tensor, t: Tensor) -> Tensor:
    return _cosine(z, t + 1 / 256)


def _signed_error(field: VelocityField, num_steps: int, exact: float) -> float:
    z_0 = torch.ones(1, 1, 1, 1, dtype=F64)
    return trajectory(field, z_0, num_steps)[-1].item() - exact


EULER = [
    (_growth(1.0), math.e, -math.e / 2),
    (_growth(-1.0), math.exp(-1), -math.exp(-1) / 2),
    (_cosine, 1 + math.sin(1), (1 - math.cos(1)) / 2),
]


@pytest.mark.parametrize(("field", "exact", "constant"), EULER, ids=["grows", "decays", "cosine"])
def test_euler_order_and_constant(field: VelocityField, exact: float, constant: float) -> None:
    """K = 8..256 from z_0 = 1: order within 0.1 of 1, and K times the error tends to its limit.

    exp(r): (1 + r / K)^K = e^r (1 - r^2 / 2K + O(K^-2)); its second term is 0.4 % of the first at
    K = 256. sin: the left Riemann sum of cos exceeds the integral by (cos 0 - cos 1) / 2K, second
    term 0.1 %. Hence 1 %. At K = 8 the second terms change the order by 0.08 at most.
    """
    counts = [8, 16, 32, 64, 128, 256]
    errors = [_signed_error(field, num_steps, exact) for num_steps in counts]
    orders = [math.log2(coarse / fine) for coarse, fine in pairwise(errors)]
    assert orders == pytest.approx([1.0] * 5, abs=0.1)
    assert 256 * errors[-1] == pytest.approx(constant, rel=0.01)


@pytest.mark.parametrize("rate", [1.0, -1.0])
def test_euler_of_growth_is_a_power(rate: float) -> None:
    """K steps multiply by (1 + r / K)^K, to rounding; the solution e^r itself is far from that."""
    for num_steps in (1, 3, 5, 256):
        power = (1 + rate / num_steps) ** num_steps
        assert abs(_signed_error(_growth(rate), num_steps, power)) <= 1e-12
        assert abs(_signed_error(_growth(rate), num_steps, math.exp(rate))) > 5e-4


def test_euler_twins() -> None:
    """Time read at the step's end is first order too, but its constant has the other sign.

    A field that is 1 % off does not converge: its order falls to zero.
    """
    exact = 1 + math.sin(1)
    constant = 256 * _signed_error(_cosine_at_the_end, 256, exact)
    assert constant == pytest.approx(-(1 - math.cos(1)) / 2, rel=0.01)
    coarse, fine = (
        _signed_error(lambda z, t: 1.01 * _cosine(z, t), num_steps, exact)
        for num_steps in (128, 256)
    )
    assert math.log2(coarse / fine) < 0.5
