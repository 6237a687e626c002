"""A static model goes to another environment as numbers, and comes out the same."""

import json
import pickle
from pathlib import Path

import pytest
import torch

from elir_edge.model import draw_noise
from export.static.rewrites import REWRITES
from export.static.unroll import StaticElir, static_form
from export.targets.imx500.handover import (
    DESCRIPTION,
    WEIGHTS,
    ModelDescription,
    hand_over,
    take_over,
)
from tests.attacks import Malicious
from tests.conftest import make_model, tiny_config

_REWRITES = ("fold_scales", "fold_projections")


@pytest.fixture
def handed_over(tmp_path: Path) -> StaticElir:
    model = make_model(tiny_config())
    static = static_form(model, draw_noise(model.config, 64, 64, seed=3))
    for name in _REWRITES:
        static = REWRITES[name](static).static
    with torch.no_grad():
        static.steps[0].out_conv.bias.add_(0.25)  # as equalization and others change numbers
    description = ModelDescription(config=model.config, rewrites=_REWRITES, size=64)
    hand_over(static, description, tmp_path)
    return static


def test_the_same_stages(handed_over: StaticElir, tmp_path: Path) -> None:
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        wanted, got = handed_over.stages(image), take_over(tmp_path).stages(image)
    assert wanted.keys() == got.keys()
    for name, value in wanted.items():
        assert torch.equal(value, got[name]), name


def test_numbers_of_another_model_are_refused(handed_over: StaticElir, tmp_path: Path) -> None:
    path = tmp_path / DESCRIPTION
    values = json.loads(path.read_text())
    path.write_text(json.dumps({**values, "rewrites": []}))
    with pytest.raises(RuntimeError, match="state_dict"):
        take_over(tmp_path)


def test_code_is_refused(handed_over: StaticElir, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    torch.save({"noise": Malicious(marker)}, tmp_path / WEIGHTS)
    with pytest.raises(pickle.UnpicklingError):
        take_over(tmp_path)
    assert not marker.exists()
