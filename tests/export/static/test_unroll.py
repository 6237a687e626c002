"""The static form equals the model, step by step."""

import pytest
import torch

from elir_edge.errors import ExportError
from elir_edge.model import Elir, draw_noise
from export.static.unroll import StaticElir, static_form
from export.verify import model_stages, static_stages
from tests.conftest import make_model, tiny_config, tiny_published_like

CONFIGS = {
    "nano-like": tiny_config(expansion=4, num_steps=3),
    "published-like": tiny_published_like(expansion=4),
}


def _case(name: str) -> tuple[Elir, torch.Tensor, torch.Tensor]:
    model = make_model(CONFIGS[name]).double()
    image = torch.rand(
        1, 3, 64, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )
    return model, image, draw_noise(model.config, 64, 32).double()


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("as_input", [False, True])
def test_equals_the_model_at_every_stage(name: str, as_input: bool) -> None:
    model, image, noise = _case(name)
    static = static_form(model, None if as_input else noise)
    got = static_stages(static, image, noise if as_input else None)
    expected = model_stages(model, image, noise)
    assert list(got) == list(expected) == static.stage_names
    for stage, value in expected.items():
        assert abs(got[stage] - value).max() <= 1e-10, stage  # float64: algebra only


@pytest.mark.parametrize("name", CONFIGS)
def test_a_wrong_time_is_seen(name: str) -> None:
    """The twin: biases folded for another time change the steps, and only those."""
    model, image, noise = _case(name)
    static = static_form(model, noise)
    first = static.steps[0]
    static.steps[0] = static.steps[1]
    static.steps[1] = first
    got, expected = static_stages(static, image, None), model_stages(model, image, noise)
    assert abs(got["coarse"] - expected["coarse"]).max() <= 1e-10
    assert abs(got["step_1"] - expected["step_1"]).max() > 1e-6


def test_kernels_are_shared_between_the_steps() -> None:
    model = make_model(tiny_config(num_steps=3))
    static = static_form(model, None)
    kernels = {id(step.mid[0].conv1.weight) for step in static.steps}  # type: ignore[union-attr, index]
    assert len(kernels) == 1


def test_preparing_leaves_the_model_alone() -> None:
    model = make_model(tiny_config(expansion=4))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    static_form(model, None)
    after = model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_the_training_form_is_refused() -> None:
    with pytest.raises(ExportError, match="collapse"):
        StaticElir(make_model(tiny_config(expansion=4)), None)


def test_noise_must_come_from_somewhere() -> None:
    static = static_form(make_model(tiny_config()), None)
    with pytest.raises(ExportError, match="noise"):
        static.stages(torch.zeros(1, 3, 32, 32))
