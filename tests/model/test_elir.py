"""The whole model: published sizes, Euler's order, reproducible draws."""

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from elir_edge.model import Elir, draw_noise, initialize, paper_config_for
from tests.conftest import make_model, tiny_config


@pytest.mark.parametrize(
    ("task", "millions"),
    [("bfr", 37.52), ("bsr", 19.08), ("sr", 26.89), ("denoising", 26.89), ("inpainting", 26.89)],
)
def test_published_parameter_counts(task: str, millions: float) -> None:
    with torch.device("meta"):
        model = Elir(paper_config_for(task, num_steps=3, sigma_s=0.1))
    count = sum(p.numel() for p in model.parameters()) / 1e6
    assert count == pytest.approx(millions, abs=0.005)


class _Decay(nn.Module):
    """dz/dt = -z (1 + t): z(1) = z(0) exp(-3/2)."""

    def forward(self, z: Tensor, t: Tensor) -> Tensor:
        return -z * (1 + t.view(-1, 1, 1, 1))


def _final_error(num_steps: int) -> float:
    model = make_model(tiny_config(num_steps=num_steps)).double()
    model.velocity = _Decay()  # type: ignore[assignment]
    z_0 = torch.ones(1, 4, 2, 2, dtype=torch.float64)
    return abs(model.trajectory(z_0)[-1][0, 0, 0, 0].item() - math.exp(-1.5))


def test_euler_is_first_order() -> None:
    errors = [_final_error(num_steps) for num_steps in (64, 128, 256)]
    ratios = [coarse / fine for coarse, fine in pairwise(errors)]
    # First order halves the error with the step; second order would quarter it.
    assert ratios == pytest.approx([2.0, 2.0], abs=0.05)


def test_trajectory_visits_k_states() -> None:
    model = make_model(tiny_config(num_steps=5))
    assert len(model.trajectory(torch.zeros(1, 4, 4, 4))) == 6


def test_shapes_and_repeatability() -> None:
    model = make_model(tiny_config())
    image, noise = torch.rand(2, 3, 32, 48), draw_noise(model.config, 32, 48)
    first = model(image, noise)
    assert first.shape == image.shape
    assert torch.equal(first, model(image, noise))
    assert not torch.equal(first, model(image, 2 * noise))


def test_noise_is_seeded_and_scaled() -> None:
    config = paper_config_for("bsr", num_steps=3, sigma_s=0.04)
    draw = draw_noise(config, 1024, 1024, seed=1)
    assert draw.shape == (1, 16, 128, 128)
    # 262,144 draws: the sample's deviation is within 1 % of sigma_s.
    assert draw.std().item() == pytest.approx(0.04, rel=0.01)
    assert torch.equal(draw, draw_noise(config, 1024, 1024, seed=1))
    assert not torch.equal(draw, draw_noise(config, 1024, 1024, seed=2))


def test_initialize_is_a_function_of_the_generator() -> None:
    a, b, c = (make_model(tiny_config(expansion=4), seed) for seed in (0, 0, 1))
    assert all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))
    assert not all(torch.equal(x, y) for x, y in zip(a.parameters(), c.parameters(), strict=True))


def test_initialized_latents_are_in_range() -> None:
    """No layer explodes or dies: the source point of a fresh model has a moderate spread."""
    model = Elir(tiny_config(expansion=4))
    initialize(model, torch.Generator().manual_seed(0))
    z = model.initial_point(torch.rand(1, 3, 64, 64))
    assert 0.02 < z.std().item() < 20
