"""A law: whatever the image and the draw of noise, a rewritten model gives what it gave before."""

import functools

import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from elir_edge.model import Elir
from export.static.rewrites import REWRITES
from export.static.unroll import static_form
from tests.conftest import make_model, tiny_config, tiny_published_like

CONFIGS = {"nano-like": tiny_config(), "published-like": tiny_published_like()}


@functools.cache
def _model(config: str) -> Elir:
    return make_model(CONFIGS[config]).double()


@pytest.mark.parametrize("rewrite", REWRITES)
@pytest.mark.parametrize("config", CONFIGS)
@settings(max_examples=8, deadline=None, derandomize=True, phases=(Phase.generate,))
@given(
    height=st.integers(1, 3),
    width=st.integers(1, 3),
    batch=st.integers(1, 2),
    low=st.floats(-4, 1),
    span=st.floats(0, 8),
    seed=st.integers(0, 2**31 - 1),
)
def test_a_rewrite_commutes_with_any_input(
    config: str,
    rewrite: str,
    height: int,
    width: int,
    batch: int,
    low: float,
    span: float,
    seed: int,
) -> None:
    model = _model(config)
    side = model.size_multiple
    generator = torch.Generator().manual_seed(seed)
    shape = (batch, 3, height * side, width * side)
    image = low + span * torch.rand(shape, generator=generator, dtype=torch.float64)
    factor = model.config.latent_factor
    noise = torch.randn(
        (batch, model.config.latent_channels, shape[2] // factor, shape[3] // factor),
        generator=generator,
        dtype=torch.float64,
    )
    static = static_form(model, None)
    rewritten = REWRITES[rewrite](static).static
    with torch.no_grad():
        before, after = static.stages(image, noise), rewritten.stages(image, noise)
    assert before.keys() == after.keys()
    for stage, expected in before.items():
        scale = max(1.0, float(expected.abs().max()))
        # float64: what differs is the order of additions, below the gate of 1e-10.
        assert float((expected - after[stage]).abs().max()) <= 1e-10 * scale, stage
