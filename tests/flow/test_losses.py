"""The LCFM objective: by hand, at its known minimisers, and where its gradients may go."""

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from elir_edge.errors import ConfigError
from elir_edge.flow.losses import LcfmSettings, LcfmTerms, lcfm_terms

F64 = torch.float64
SETTINGS = LcfmSettings(num_segments=2, dt=0.1, alpha=0.5, beta=0.25, sigma_min=0.0)


def _column(*values: float) -> Tensor:
    return torch.tensor(values, dtype=F64).view(-1, 1, 1, 1)


def test_terms_by_hand() -> None:
    """One number: v(z, t) = z + 2 t, decoder 3 z, z_0 = 1, z_1 = 2, t = 0.2, image 5.

    The segment of 0.2 ends at 0.5. z_t = 1.2, v = 1.6, f = 1.2 + 0.3 * 1.6 = 1.68. At 0.3: z = 1.3,
    v = 1.9, f = 1.3 + 0.2 * 1.9 = 1.68. Then v(1.68, 0.5) = 2.68 and z_1_hat = 1.68 + 0.5 * 2.68.
    """
    terms = lcfm_terms(
        lambda z, t: z + 2 * t.view(-1, 1, 1, 1),
        lambda z: 3 * z,
        _column(1),
        _column(2),
        _column(5),
        torch.tensor([0.2], dtype=F64),
        SETTINGS,
    )
    assert terms.f.item() == pytest.approx(0.0, abs=1e-12)
    assert terms.v.item() == pytest.approx(0.3**2, abs=1e-12)
    assert terms.mse.item() == pytest.approx((3 * 3.02 - 5) ** 2, abs=1e-12)
    expected = 0.75 * (0 + 0.5 * 0.09) + 0.25 * (9.06 - 5) ** 2
    assert terms.total(SETTINGS).item() == pytest.approx(expected, abs=1e-12)


TWO = LcfmSettings(num_segments=2, dt=0.25, alpha=0.5, beta=0.25, sigma_min=0.5)


def _two_elements(settings: LcfmSettings) -> LcfmTerms:
    """Return the terms for v = 2 z - 4 t and decoder 2 z."""
    return lcfm_terms(
        lambda z, t: 2 * z - 4 * t.view(-1, 1, 1, 1),
        lambda z: 2 * z,
        _column(2, -2),
        _column(4, 2),
        _column(13, -3),
        torch.tensor([0.25, 0.5], dtype=F64),
        settings,
    )


def test_two_elements_by_hand() -> None:
    """One pair that reaches the next segment, one in the last; every number is exact in binary.

    t = 1/4, end 1/2: z = 1 + 7/8 * 2 = 2.75, v = 4.5, f = 3.875. At 1/2: z = 2 + 3/4 * 2 = 3.5,
    v = 5, f = 3.5, still with the end 1/2. z_1_hat = 3.875 + 1/2 * 5.75 = 6.75, image 13.5 for 13.
    t = 1/2, end 1: z = 1 - 3/4 * 2 = -0.5, v = -3, f = -2. At 3/4: z = 1.5 - 5/8 * 2 = 0.25,
    v = -2.5, f = -0.375. z_1_hat = f, image -4 for -3.
    """
    terms = _two_elements(TWO)
    assert terms.f.item() == (0.375**2 + 1.625**2) / 2
    assert terms.v.item() == (0.5**2 + 0.5**2) / 2
    assert terms.mse.item() == (0.5**2 + 1**2) / 2
    assert terms.total(TWO).item() == 0.75 * (1.390625 + 0.5 * 0.25) + 0.25 * 0.625


@pytest.mark.parametrize(
    ("fields", "terms"),
    [
        ({"num_segments": 1}, {"f", "mse"}),
        ({"num_segments": 3}, {"f", "mse"}),
        ({"dt": 0.125}, {"f", "v"}),
        ({"sigma_min": 0.0}, {"f", "v", "mse"}),
    ],
)
def test_each_setting_enters_its_terms(fields: dict[str, Any], terms: set[str]) -> None:
    """The twins of the numbers by hand: which terms another setting changes."""
    expected, got = _two_elements(TWO), _two_elements(dataclasses.replace(TWO, **fields))
    changed = {name for name, term in vars(got).items() if term != vars(expected)[name]}
    assert changed == terms


def _straight(scale: float) -> tuple[Any, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    z_0, z_1 = torch.randn(2, 6, 2, 3, 3, generator=generator, dtype=F64)
    return (lambda z, t: scale * (z_1 - z_0)), z_0, z_1


def test_the_straight_field_has_no_loss() -> None:
    velocity, z_0, z_1 = _straight(1.0)
    t = torch.linspace(0, 0.9, 6, dtype=F64)
    terms = lcfm_terms(velocity, lambda z: z, z_0, z_1, z_1, t, SETTINGS)
    for term in (terms.f, terms.v, terms.mse):
        assert term.item() <= 1e-24


def test_another_field_has_some() -> None:
    """The twin: a field a tenth too slow misses the ends, though it is as consistent in v."""
    velocity, z_0, z_1 = _straight(0.9)
    t = torch.linspace(0, 0.9, 6, dtype=F64)
    terms = lcfm_terms(velocity, lambda z: z, z_0, z_1, z_1, t, SETTINGS)
    assert terms.f.item() > 1e-6
    assert terms.mse.item() > 1e-3
    assert terms.v.item() <= 1e-24


class _Affine(nn.Module):
    """v(z, t) = a z + b + c t."""

    def __init__(self) -> None:
        super().__init__()
        self.coefficients = nn.Parameter(torch.tensor([0.3, -0.2, 0.5], dtype=F64))

    def forward(self, z: Tensor, t: Tensor) -> Tensor:
        a, b, c = self.coefficients
        return a * z + b + c * t.view(-1, 1, 1, 1)


def test_gradients_stay_with_theta() -> None:
    """Eq. 5: nothing reaches what made z_0 and z_1; the frozen decoder passes gradients on."""
    velocity, decoder = _Affine(), nn.Conv2d(1, 1, 1).double().requires_grad_(False)
    z_0, z_1 = _column(1, 2).requires_grad_(True), _column(3, 1).requires_grad_(True)
    t = torch.tensor([0.1, 0.6], dtype=F64)
    terms = lcfm_terms(velocity, decoder, z_0, z_1, _column(0.5, 0.5), t, SETTINGS)
    terms.total(SETTINGS).backward()
    assert z_0.grad is None
    assert z_1.grad is None
    assert decoder.weight.grad is None
    gradient = velocity.coefficients.grad
    assert gradient is not None
    assert (gradient != 0).all()


def test_theta_minus_gets_no_gradient() -> None:
    """The f term's gradient equals that of a loss whose second point uses a frozen copy."""
    velocity, frozen = _Affine(), _Affine().requires_grad_(False)
    z_0, z_1, t = _column(1, 2), _column(3, 1), torch.tensor([0.1, 0.6], dtype=F64)
    terms = lcfm_terms(velocity, lambda z: z, z_0, z_1, z_1, t, SETTINGS)
    (got,) = torch.autograd.grad(terms.f, velocity.coefficients)

    end = _column(0.5, 1.0)
    time, later = _column(0.1, 0.6), _column(0.2, 0.7)
    z_t, z_next = time * z_1 + (1 - time) * z_0, later * z_1 + (1 - later) * z_0
    f_t = z_t + (end - time) * velocity(z_t, time.flatten())

    def f_next(field: _Affine) -> Tensor:
        return z_next + (end - later) * field(z_next, later.flatten())

    (expected,) = torch.autograd.grad(
        (f_t - f_next(frozen)).square().mean(), velocity.coefficients, retain_graph=True
    )
    assert (got - expected).abs().max() <= 1e-12
    # The twin: with gradients through the second point they would differ.
    (other,) = torch.autograd.grad((f_t - f_next(velocity)).square().mean(), velocity.coefficients)
    assert (got - other).abs().max() > 1e-3


def test_gaussian_to_shifted_gaussian_finds_the_shift() -> None:
    """Coupled z_1 = z_0 + 2: the consistent field is the constant 2, whatever z and t."""
    velocity = _Affine()
    optimizer = torch.optim.Adam(velocity.parameters(), lr=0.05)
    settings = LcfmSettings(num_segments=2, dt=0.2, alpha=0.1, beta=0.1, sigma_min=0.0)
    generator = torch.Generator().manual_seed(0)
    for _ in range(600):
        z_0 = torch.randn(64, 1, 1, 1, generator=generator, dtype=F64)
        t = torch.rand(64, generator=generator, dtype=F64) * 0.8
        terms = lcfm_terms(velocity, lambda z: z, z_0, z_0 + 2, z_0 + 2, t, settings)
        optimizer.zero_grad()
        terms.total(settings).backward()
        optimizer.step()
    assert velocity.coefficients.tolist() == pytest.approx([0, 2, 0], abs=0.02)


_VALID = {"num_segments": 4, "dt": 0.2, "alpha": 0.001, "beta": 0.001}


@pytest.mark.parametrize(
    "fields",
    [
        {"num_segments": 0},
        {"dt": 0.0},
        {"num_segments": 1, "dt": 1.0},  # no time t in [0, 1 - dt] but 0
        {"dt": 0.26},
        {"alpha": -0.5},
        {"beta": -0.5},
        {"beta": 1.5},
        {"sigma_min": -0.5},
        {"sigma_min": 1.0},
        {"lpips": -0.5},
        {"loss": "other"},
    ],
)
def test_settings_out_of_range_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="LCFM settings"):
        LcfmSettings(**(_VALID | fields))


@pytest.mark.parametrize(
    "fields",
    [
        {"num_segments": 1, "dt": 0.99},
        {"dt": 0.25},
        {"alpha": 0.0, "beta": 0.0},
        {"beta": 1.0},
        {"sigma_min": 0.0},
        {"sigma_min": 0.99},
        {"lpips": 0.5, "loss": "published"},
    ],
)
def test_settings_at_the_limits_are_accepted(fields: dict[str, Any]) -> None:
    LcfmSettings(**(_VALID | fields))


def test_the_image_is_decoded_only_for_terms_with_a_weight() -> None:
    def refuse(*tensors: Tensor) -> Tensor:
        raise AssertionError("computed in vain")

    field, z_0, z_1 = _straight(1.0)
    settings = LcfmSettings(num_segments=1, dt=0.25, alpha=0.0, beta=0.0, lpips=0.0)
    t = torch.zeros(len(z_0))
    terms = lcfm_terms(field, refuse, z_0, z_1, z_1, t, settings, refuse)
    assert terms.mse is None
    assert terms.lpips is None
