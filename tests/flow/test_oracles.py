"""Gaussian to Gaussian: the minimisers of LCFM and of flow matching in closed form."""

import math
from collections.abc import Callable
from typing import TypeVar

import pytest
import torch
from torch import Tensor

from elir_edge.flow.losses import LcfmSettings, LcfmTerms, VelocityField, fm_terms, lcfm_terms
from elir_edge.flow.segments import per_sample
from tests.flow.closed_forms import (
    EXACT,
    F64,
    Gaussians,
    attached_terms,
    distance,
    identity,
    quiet_settings,
    trajectory,
)

NUM_POINTS = 16
DT = 1 / NUM_POINTS  # Times 0, dt, 2 dt, ... are exact in binary.
GAUSSIANS = Gaussians(
    m_0=torch.tensor([0.5, -1.0], dtype=F64),
    s_0=torch.tensor([1.0, 0.5], dtype=F64),
    m_1=torch.tensor([2.0, 0.25], dtype=F64),
    s_1=torch.tensor([0.7, 1.5], dtype=F64),
    rho=torch.tensor([0.6, -0.3], dtype=F64),
    sigma_min=0.01,
)
_AT_ONE = 7.0  # Slope and offset at t = 1, which no loss trains: an arbitrary number.

Terms = TypeVar("Terms")


@pytest.mark.parametrize("beta", [0.0, 0.3, 1.0])
def test_flow_matching_finds_the_marginal_velocity(beta: float) -> None:
    """Its minimiser is u* = E[u | z_t], by least squares over the four points.

    With l = 1 - t and x = E[z_1 | z_t], half the gradient of (1 - beta) fm + beta mse by v is
    (1 - beta) (v - u*) + beta l (z_t + l v - x). As z_t + l u = z_1 + sigma_min z_0, the image's
    term has (nearly) the same zero. The twin: another sigma_min is another path.
    """

    def found(sigma_min: float) -> Tensor:
        settings = quiet_settings(dt=DT, beta=beta, sigma_min=sigma_min)
        return _stationary(lambda field: _on_grid(fm_terms, field, settings).total(settings))

    times = torch.arange(NUM_POINTS, dtype=F64) / NUM_POINTS
    left = per_sample(1 - times, times[:, None])
    expected = torch.stack(
        [
            ((1 - beta) * u + beta * left * (x - own)) / (1 - beta + beta * left**2)
            for u, x, own in zip(
                GAUSSIANS.marginal(times), GAUSSIANS.posterior_mean(times), (1.0, 0.0), strict=True
            )
        ]
    )
    assert distance(found(GAUSSIANS.sigma_min), expected) <= EXACT
    assert distance(found(0.1), expected) > 1e-3


def test_marginal_velocity_carries_one_gaussian_to_the_other() -> None:
    """Many Euler steps map mean and deviation to those of z_1 + sigma_min z_0, with an error ~ 1/K.

    At K = 256 the error is a few 1/256; halving it to 5 % tells it from an error of the closed
    form. The twin, with the deviation of z_1 a tenth off, misses by a tenth at any K.
    """

    def errors(gaussians: Gaussians) -> list[float]:
        z_0, _ = GAUSSIANS.pairs()
        one = torch.ones(1, dtype=F64)
        expected = torch.cat([GAUSSIANS.mean(one), GAUSSIANS.variance(one).sqrt()])
        found = []
        for num_steps in (256, 512):
            z = trajectory(gaussians.velocity, z_0, num_steps)[-1][:, :, 0, 0]
            got = torch.stack([z.mean(0), z.std(0, correction=0)])
            found.append(distance(got, expected))
        return found

    coarse, fine = errors(GAUSSIANS)
    assert coarse <= 0.02
    assert coarse / fine == pytest.approx(2, abs=0.1)
    fields = vars(GAUSSIANS) | {"s_1": 1.1 * GAUSSIANS.s_1}
    assert min(errors(Gaussians(**fields))) > 0.05


@pytest.mark.parametrize("num_segments", [1, 2, 4])
def test_consistency_distils_euler_steps(num_segments: int) -> None:
    """LCFM's minimiser (alpha = beta = 0): K of its steps are 1/dt Euler steps of E[u | z_t].

    The second point is fixed (theta-minus), so at the stationary point f(z_t, t) = E[f(z_t + dt u,
    t + dt) | z_t] with f(z, end) = z. For affine f that is f(z_t + dt E[u | z_t], t + dt): one
    Euler step of the marginal flow, then the rest. So one step of LCFM's field carries a Gaussian
    to the target's own deviation; a regression on z_0 would keep |rho| of it.
    """
    settings = quiet_settings(dt=DT, num_segments=num_segments, sigma_min=GAUSSIANS.sigma_min)

    def states(objective: Callable[..., LcfmTerms]) -> list[Tensor]:
        table = _stationary(lambda field: _on_grid(objective, field, settings).f)
        return trajectory(_field_of(table), GAUSSIANS.pairs()[0], num_segments)

    marginal = trajectory(GAUSSIANS.velocity, GAUSSIANS.pairs()[0], NUM_POINTS)
    expected = torch.stack(marginal[:: NUM_POINTS // num_segments])
    assert distance(torch.stack(states(lcfm_terms)), expected) <= EXACT
    # The twin: with gradients through the second point, spread is punished and shrinks.
    assert distance(torch.stack(states(attached_terms)), expected) > 0.01


@pytest.mark.parametrize(
    ("alpha", "beta"), [(0.0, 0.0), (0.01, 0.0), (0.0, 0.3), (0.01, 0.3), (0.0, 1.0)]
)
def test_minimiser_of_equation_4(alpha: float, beta: float) -> None:
    """K = 1, identity decoder: the stationary field by backward recursion, all terms at work.

    With l = 1 - t, w = E[v(z_next, t_next) | z_t], u* = E[u | z_t] and x = E[z_1 | z_t], half the
    gradient of Eq. 4 by v(z_t, t) is (1 - beta) (l (dt (w - u*) + l (v - w)) + alpha (v - w))
    + beta l (z_t + l v - x), which is zero for the v below. All are affine in z_t.
    """
    settings = quiet_settings(dt=DT, alpha=alpha, beta=beta, sigma_min=GAUSSIANS.sigma_min)
    got = _stationary(lambda field: _on_grid(lcfm_terms, field, settings).total(settings))
    assert distance(got, _recursion(alpha, beta)) <= EXACT
    # The twin: another balance has another minimiser.
    assert distance(got, _recursion(alpha, 0.9 * beta + 0.05)) > 1e-3


def test_distortion_and_perception() -> None:
    """The ends of beta: 1 gives the posterior mean, 0 nearly the target's deviation.

    |rho| s_1 is the deviation of E[z_1 | z_0]. For beta = 0 the map is 16 Euler steps, first order:
    a fifth is allowed. The twin: each end is further than that from the other's value.
    """

    def deviation(beta: float) -> Tensor:
        settings = quiet_settings(dt=DT, beta=beta, sigma_min=GAUSSIANS.sigma_min)
        table = _stationary(lambda field: _on_grid(lcfm_terms, field, settings).total(settings))
        z_1 = trajectory(_field_of(table), GAUSSIANS.pairs()[0], 1)[-1]
        return z_1.std(0, correction=0).flatten()

    target = GAUSSIANS.variance(torch.ones(1, dtype=F64))[0].sqrt()
    assert distance(deviation(1.0), GAUSSIANS.rho.abs() * GAUSSIANS.s_1) <= EXACT
    assert ((deviation(0.0) - target).abs() / target).max() <= 0.2
    assert ((deviation(1.0) - target).abs() / target).min() > 0.3


def _recursion(alpha: float, beta: float) -> Tensor:
    """Return the slopes and offsets (2, NUM_POINTS, C) of `test_minimiser_of_equation_4`."""
    later = torch.full((2, 2), _AT_ONE, dtype=F64)
    found: list[Tensor] = []
    for j in reversed(range(NUM_POINTS)):
        time, left = torch.tensor([j * DT], dtype=F64), 1 - j * DT
        u = torch.cat(GAUSSIANS.marginal(time))
        own = torch.tensor([[1.0], [0.0]], dtype=F64)
        x = torch.cat(GAUSSIANS.posterior_mean(time)) - own
        w = torch.stack([later[0] * (1 + DT * u[0]), later[0] * DT * u[1] + later[1]])
        flow = (left**2 + alpha - left * DT) * w + left * DT * u
        weight = (1 - beta) * (left**2 + alpha) + beta * left**2
        later = ((1 - beta) * flow + beta * left * x) / weight
        found.insert(0, later)
    return torch.stack(found, dim=1)


def _field_of(table: Tensor) -> VelocityField:
    """Return v(z, j dt) = slope_j z + offset_j for slopes and offsets (2, NUM_POINTS, C)."""
    whole = torch.cat([table, torch.full_like(table[:, :1], _AT_ONE)], dim=1)

    def field(z: Tensor, t: Tensor) -> Tensor:
        slope, offset = whole[:, torch.round(t * NUM_POINTS).long()][..., None, None]
        return slope * z + offset

    return field


def _on_grid(
    objective: Callable[..., Terms], field: VelocityField, settings: LcfmSettings
) -> Terms:
    """Return the expected terms over GAUSSIANS and the uniform times 0, dt, ..., 1 - dt."""
    z_0, z_1 = (z.repeat(NUM_POINTS, 1, 1, 1) for z in GAUSSIANS.pairs())
    t = torch.arange(NUM_POINTS, dtype=F64).repeat_interleave(4) / NUM_POINTS
    return objective(field, identity, z_0, z_1, z_1, t, settings)


def _stationary(loss: Callable[[VelocityField], Tensor]) -> Tensor:
    """Return the table (2, NUM_POINTS, C) at which the loss's gradient vanishes.

    The loss is quadratic in the first point's coefficients and the second's are constants, so its
    gradient is affine in the table: as many evaluations as entries give the linear system.
    """
    shape = (2, NUM_POINTS, 2)

    def gradient(entries: Tensor) -> Tensor:
        table = entries.view(shape).requires_grad_(True)
        (found,) = torch.autograd.grad(loss(_field_of(table)), table)
        return found.flatten()

    size = math.prod(shape)
    at_zero = gradient(torch.zeros(size, dtype=F64))
    columns = [gradient(unit) - at_zero for unit in torch.eye(size, dtype=F64)]
    return torch.linalg.solve(torch.stack(columns, dim=1), -at_zero).view(shape)
