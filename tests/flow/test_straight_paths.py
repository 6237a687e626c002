"""Deterministic coupling, straight paths that never meet: where Eq. 3 and 4 are zero, or not."""

import pytest
import torch
from torch import Tensor, nn

from elir_edge.flow.losses import LcfmSettings, VelocityField, lcfm_terms
from elir_edge.flow.segments import interpolate, per_sample, segment_end
from tests.flow.closed_forms import (
    EXACT,
    F64,
    SQUARED,
    Scaling,
    distance,
    identity,
    quiet_settings,
    trajectory,
)

SCALINGS = [Scaling(0.4, 1.5, 0.0), Scaling(2.5, -1.0, 0.25), Scaling(1.0, 2.0, 1e-5)]


@pytest.mark.parametrize("num_segments", [1, 2, 3, 5])
@pytest.mark.parametrize("dt", [0.01, 0.2])
@pytest.mark.parametrize("scaling", SCALINGS)
def test_exact_field_has_no_flow_loss(scaling: Scaling, dt: float, num_segments: int) -> None:
    """The speed is constant along each path: f = v = 0, for pairs that cross a segment end too.

    What is left at t = 1 is z_1 + sigma_min z_0, so mse = sigma_min^2 mean(z_0^2).
    """
    z_0, z_1, t = _coupled(scaling, dt)
    settings = quiet_settings(
        beta=0.5, num_segments=num_segments, dt=dt, sigma_min=scaling.sigma_min
    )
    terms = lcfm_terms(scaling.velocity, identity, z_0, z_1, z_1, t, settings)
    assert terms.f.item() <= SQUARED
    assert terms.v.item() <= SQUARED
    left = (scaling.sigma_min**2 * z_0.square().mean()).item()
    assert terms.mse.item() == pytest.approx(left, rel=EXACT, abs=SQUARED)


@pytest.mark.parametrize("scaling", SCALINGS)
def test_each_euler_step_of_the_exact_field_is_exact(scaling: Scaling) -> None:
    """All states lie on the path for every K; a field that is late by a tenth leaves it."""
    z_0, z_1, _ = _coupled(scaling, 0.2)

    def error(field: VelocityField, num_steps: int) -> float:
        states = trajectory(field, z_0, num_steps)
        times = [torch.full((len(z_0),), i / num_steps, dtype=F64) for i in range(num_steps + 1)]
        path = [interpolate(z_0, z_1, t, scaling.sigma_min) for t in times]
        return distance(torch.stack(states), torch.stack(path))

    for num_steps in (1, 3, 5):
        assert error(scaling.velocity, num_steps) <= EXACT
        if abs(scaling.k) > 1e-4:  # A field that is constant in time cannot be late.
            assert error(lambda z, t: scaling.velocity(z, t - 0.1), num_steps) > 1e-3


@pytest.mark.parametrize("num_segments", [1, 3])
@pytest.mark.parametrize(("shift", "ramp"), [(0.5, 0.0), (0.0, 0.5), (-0.3, 0.8)])
def test_wrong_field_has_the_loss_by_hand(num_segments: int, shift: float, ramp: float) -> None:
    """An error e(t) = shift + ramp t of the exact field costs what the pair's identity says.

    f_t - f_next = dt (v_next - u) + (end - t) (v_t - v_next) for any field, u the path's speed. So
    f = mean (dt e(t + dt) - (end - t) ramp dt)^2 and v = (ramp dt)^2. The first step ends at
    d = (end - t) e(t) beside the path, where v* = u + k d / (1 + k end), so z_1_hat misses by
    d + (1 - end) (k d / (1 + k end) + e(end)).
    """
    scaling, dt = SCALINGS[0], 0.2
    z_0, z_1, t = _coupled(scaling, dt)
    settings = quiet_settings(beta=0.5, num_segments=num_segments, dt=dt)

    def field(z: Tensor, t: Tensor) -> Tensor:
        return scaling.velocity(z, t) + shift + ramp * per_sample(t, z)

    terms = lcfm_terms(field, identity, z_0, z_1, z_1, t, settings)
    end = segment_end(t, num_segments)
    f = dt * (shift + ramp * (t + dt)) - (end - t) * ramp * dt
    d = (end - t) * (shift + ramp * t)
    miss = d + (1 - end) * (scaling.k * d / (1 + scaling.k * end) + shift + ramp * end)
    assert terms.f.item() == pytest.approx(f.square().mean().item(), rel=EXACT)
    assert terms.v.item() == pytest.approx((ramp * dt) ** 2, rel=EXACT, abs=SQUARED)
    assert terms.mse.item() == pytest.approx(miss.square().mean().item(), rel=EXACT)
    assert terms.f.item() > 1e-4


@pytest.mark.parametrize("end_point", [0.0, -3.0, 40.0])
def test_f_alone_has_trivial_solutions(end_point: float) -> None:
    """K = 1, v = (c - z) / (1 - t) goes from everywhere to c: f is constant, its term zero.

    So f and its gradient do not know z_1 at this field. What excludes the collapse: alpha, as the
    speeds differ by (c - z_1) dt / ((1 - t) (1 - t - dt)) (sigma_min = 0), whose square has no
    finite mean over t < 1 - dt; beta; and any bound on v, as f(z, 1) = z. Where f and v are both
    zero, the pair's identity above gives v = u: beside the path's own speed there is no minimiser.
    """
    z_0, z_1, t = _coupled(SCALINGS[0], 0.2)
    t = 0.9 * t  # Away from the pole.
    settings = quiet_settings(beta=0.5, dt=0.2)

    def collapse(z: Tensor, t: Tensor) -> Tensor:
        left = (1 - per_sample(t, z)).clamp_min(1e-9)  # At t = 1 it is only multiplied by zero.
        return (end_point - z) / left

    terms = lcfm_terms(collapse, identity, z_0, z_1, z_1, t, settings)
    assert terms.f.item() <= SQUARED
    speeds = (end_point - z_1) * per_sample(0.2 / ((1 - t) * (0.8 - t)), z_1)
    assert terms.v.item() == pytest.approx(speeds.square().mean().item(), rel=EXACT)
    assert terms.mse.item() == pytest.approx((z_1 - end_point).square().mean().item(), rel=EXACT)
    assert min(terms.v.item(), terms.mse.item()) > 0.1


def test_pairs_across_a_segment_end_see_a_collapse() -> None:
    """K = 2, z_t = t, v = (c - z) / (end - t), dt = 0.1, t = 0.45: f_t = c, f_next by hand.

    z_next = 0.55 aims at c from 0.55 to 1, v_next = (c - 0.55) / 0.45, and goes back by 0.05. The
    pair's f is not zero, unlike that of a pair within a segment (t = 0.3).
    """
    settings = quiet_settings(beta=0.5, num_segments=2, dt=0.1)
    z_0 = torch.zeros(1, 1, 1, 1, dtype=F64)

    def collapse(z: Tensor, t: Tensor) -> Tensor:
        return (2.0 - z) / per_sample(segment_end(t, 2) - t, z)

    def f_at(time: float) -> float:
        t = torch.tensor([time], dtype=F64)
        return lcfm_terms(collapse, identity, z_0, z_0 + 1, z_0 + 1, t, settings).f.item()

    assert f_at(0.45) == pytest.approx((2 - (0.55 - 0.05 * 1.45 / 0.45)) ** 2, rel=EXACT)
    assert f_at(0.3) <= SQUARED


@pytest.mark.parametrize("phase", [0.0, 0.25, 0.75])
def test_last_interval_is_a_boundary_condition(phase: float) -> None:
    """LCFM trains no v on (1 - dt, 1]; an error e there spreads backwards as e p / (p + n).

    Times 1 - (p + n) dt, one path with u = 1, v a function of t. At the stationary point of f,
    f(t) = f(t + dt), so the end point's error (1 - t) (v - u) is p dt e for all n: e of the last
    interval harms the speed at t = 0 by about e dt / 2 on average over p, not more.
    """
    num_pairs, dt, wrong = 5, 1 / 16, 0.8
    first = torch.arange(1, num_pairs + 1, dtype=F64)
    t = 1 - (phase + first) * dt
    speeds = torch.zeros(num_pairs + 1, dtype=F64, requires_grad=True)
    z_0 = torch.zeros(num_pairs, 1, 1, 1, dtype=F64)

    def field(z: Tensor, t: Tensor) -> Tensor:
        return per_sample(speeds[torch.round((1 - t) / dt - phase).long()], z)

    def gradient() -> Tensor:
        terms = lcfm_terms(field, identity, z_0, z_0 + 1, z_0 + 1, t, quiet_settings(dt=dt))
        (found,) = torch.autograd.grad(terms.f, speeds)
        return found

    with torch.no_grad():
        speeds[0] = 1 + wrong
        speeds[1:] = 1 + wrong * phase / (phase + first)
    assert gradient().abs().max() <= EXACT
    # The twin: the path's own speed is no solution unless the last interval has it too.
    with torch.no_grad():
        speeds[1:] = 1
    assert (gradient().abs().max() > 1e-4) == (phase > 0)


class _Linear(nn.Module):
    """v(z, t) = (p z + q + t (r + s z)) / (1 + k t): the closed form is p = k, q = b, r = s = 0."""

    def __init__(self, k: float) -> None:
        super().__init__()
        self.k = k
        self.coefficients = nn.Parameter(torch.zeros(4, dtype=F64))

    def forward(self, z: Tensor, t: Tensor) -> Tensor:
        p, q, r, s = self.coefficients
        t = per_sample(t, z)
        return (p * z + q + t * (r + s * z)) / (1 + self.k * t)


def test_training_reaches_the_closed_form() -> None:
    """Adam on Eq. 4, all terms: the standstill becomes k, b, 0, 0 to 0.01 within 200 steps.

    Batch and times are the same at every step, so there is no noise to average out. The twin: the
    path of another sigma_min ends elsewhere.
    """
    scaling = SCALINGS[0]
    z_0, z_1, t = _coupled(scaling, 0.2)

    def train(sigma_min: float) -> list[float]:
        settings = quiet_settings(
            num_segments=2, dt=0.2, alpha=0.001, beta=0.1, sigma_min=sigma_min
        )
        field = _Linear(scaling.k)
        optimizer = torch.optim.Adam(field.parameters(), lr=0.1, betas=(0.9, 0.99))
        for _ in range(200):
            loss = lcfm_terms(field, identity, z_0, z_1, z_1, t, settings).total(settings)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        found: list[float] = field.coefficients.tolist()
        return found

    expected = [scaling.k, scaling.b, 0, 0]
    assert train(0.0) == pytest.approx(expected, abs=0.01)
    assert train(0.2) != pytest.approx(expected, abs=0.05)


def _lowest_rate(settings: LcfmSettings) -> float:
    """Return the slowest decay rate of v(t) = a + b t + c t^2 under gradient descent on Eq. 4.

    All latents are zero, so zero is the only minimiser and the gradient is M (a, b, c); an
    eigenvalue of M with a negative real part is a direction in which training runs away.
    """
    t = torch.linspace(0, 1 - settings.dt, 200, dtype=F64)
    zeros = torch.zeros(200, 1, 1, 1, dtype=F64)

    def gradient(coefficients: Tensor) -> Tensor:
        coefficients = coefficients.clone().requires_grad_(True)

        def field(z: Tensor, t: Tensor) -> Tensor:
            a, b, c = coefficients
            return per_sample(a + b * t + c * t**2, z)

        terms = lcfm_terms(field, identity, zeros, zeros, zeros, t, settings)
        (found,) = torch.autograd.grad(terms.total(settings), coefficients)
        return found

    matrix = torch.stack([gradient(unit) for unit in torch.eye(3, dtype=F64)], dim=1)
    return torch.linalg.eigvals(matrix).real.min().item()


@pytest.mark.parametrize(
    ("num_segments", "dt", "beta"),
    [(5, 0.05, 0.001), (3, 0.05, 0.001), (3, 0.2, 0.001), (3, 0.1, 0.1)],
)
def test_settings_in_use_are_stable(num_segments: int, dt: float, beta: float) -> None:
    """Table 6 and the own preset: descent does not diverge, though Eq. 3 is no loss's gradient.

    As dt -> 0, K = 1, beta = 0, M's quadratic form for an error e(t) is dt ((1 + alpha) e(0)^2
    - alpha e(1)^2): alpha feeds the error that no pair anchors. The twin: alpha above 1 / K^2, the
    scale of (end - t)^2, runs away. The rates are 3e-5 or more in size, rounding is below 1e-12.
    """

    def rate(alpha: float) -> float:
        return _lowest_rate(
            LcfmSettings(num_segments=num_segments, dt=dt, alpha=alpha, beta=beta, sigma_min=1e-5)
        )

    assert rate(0.001) > 1e-5
    assert rate(0.3) < -1e-5


def _coupled(scaling: Scaling, dt: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return z_0, z_1 (12, 1, 1, 1) and times that fill [0, 1 - dt]."""
    generator = torch.Generator().manual_seed(0)
    z_0 = torch.randn(12, 1, 1, 1, generator=generator, dtype=F64)
    return z_0, scaling.target(z_0), torch.linspace(0, 1 - dt, 12, dtype=F64)
