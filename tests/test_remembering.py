"""What tests remember of conversions is told apart by all that a conversion depends on."""

import copy

import pytest
import torch

from elir_edge.model import draw_noise
from export.static.unroll import StaticElir, static_form
from tests.conftest import make_model, tiny_config
from tests.remembering import key_of


@pytest.fixture
def static() -> StaticElir:
    """Return a static model."""
    model = make_model(tiny_config())
    return static_form(model, draw_noise(model.config, 64, 64))


def test_equal_models_have_one_key(static: StaticElir) -> None:
    model = make_model(tiny_config())
    again = static_form(model, draw_noise(model.config, 64, 64))
    assert key_of(static, (1, 3, 64, 64)) == key_of(again, (1, 3, 64, 64))
    assert key_of(static, (1, 3, 64, 64)) == key_of(copy.deepcopy(static), (1, 3, 64, 64))


@pytest.mark.parametrize("change", ["weight", "noise", "scale", "limit", "flag", "shape"])
def test_changed_ones_have_another(static: StaticElir, change: str) -> None:
    before = key_of(static, (1, 3, 64, 64))
    shape = (1, 3, 64, 64)
    step = static.steps[0]
    if change == "weight":
        static.encoder.layers[0].weight.data.view(-1)[0] += 1e-6  # type: ignore[index, union-attr]
    elif change == "noise":
        static.noise = torch.zeros_like(static.noise)  # type: ignore[arg-type]
    elif change == "scale":
        step.scale = 1.0  # type: ignore[assignment]
    elif change == "limit":
        static.decoder.limit = 1.0
    elif change == "flag":
        step.skip_from_latent = True  # type: ignore[assignment]
    else:
        shape = (2, 3, 64, 64)
    assert key_of(static, shape) != before
