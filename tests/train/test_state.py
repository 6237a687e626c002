"""The training state: nothing in it is run, nothing malformed is a traceback, nothing is half."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from elir_edge.errors import TrainingError
from elir_edge.model import Elir, initialize
from elir_edge.train.config import TrainConfig
from elir_edge.train.objectives import RestorationObjective, lcfm_settings
from elir_edge.train.state import STATE_NAME, TrainState
from tests.attacks import Malicious
from tests.conftest import tiny_config

CONFIG = TrainConfig(
    task="denoising",
    model=tiny_config(expansion=4),
    steps=4,
    batch_size=2,
    crop_size=32,
    learning_rate=1e-3,
)


def _state(seed: int = 0) -> TrainState:
    model = Elir(CONFIG.model)
    initialize(model, torch.Generator().manual_seed(seed))
    objective = RestorationObjective(
        target_encoder=copy.deepcopy(model.encoder),
        settings=lcfm_settings(CONFIG),
        sigma_s=CONFIG.model.sigma_s,
    )
    return TrainState(CONFIG, model, objective, {"photos": "p"})


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """Return a folder with a state."""
    state = _state()
    state.step = 3
    state.save(tmp_path)
    return tmp_path


def _altered(folder: Path, **changes: Any) -> None:
    """Write the state anew with some entries changed; None: left out."""
    path = folder / STATE_NAME
    content = torch.load(path, weights_only=True)
    for name, value in changes.items():
        content.pop(name)
        if value is not None:
            content[name] = value
    torch.save(content, path)


def test_a_state_goes_there_and_back(saved: Path) -> None:
    state = _state(seed=1)
    state.restore(saved)
    assert state.step == 3
    expected = dict(_state().parts.named_parameters())
    for name, parameter in state.parts.named_parameters():
        assert torch.equal(parameter, expected[name])


def test_code_in_a_state_is_refused_and_not_run(saved: Path, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    _altered(saved, step=Malicious(marker))
    with pytest.raises(TrainingError, match="is damaged or not a training state"):
        _state().restore(saved)
    assert not marker.exists()
    # The twin: the same file does run its code when loaded without the restriction.
    torch.load(saved / STATE_NAME, weights_only=False)
    assert marker.exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"config": None},
        {"config": 3},
        {"config": "{not json"},
        {"config": "[" * 100},
        {"materials": None},
        {"materials": 3},
        {"materials": [1, 2]},
        {"parts": None},
        {"parts": "weights"},
        {"parts": {}},
        {"average": None},
        {"average": {}},
        {"average": 1.5},
        {"optimizer": None},
        {"optimizer": {"state": {}}},
        {"optimizer": {"state": {}, "param_groups": 7}},
        {"step": None},
        {"step": "many"},
        {"step": [1]},
        {"seconds": None},
        {"seconds": {}},
    ],
    ids=str,
)
def test_malformed_states_are_one_line(changes: dict[str, Any], saved: Path) -> None:
    _altered(saved, **changes)
    with pytest.raises(TrainingError, match="is damaged or not a training state"):
        _state().restore(saved)


@pytest.mark.parametrize("content", [b"", b"x", b"\x80\x04.", b"PK\x03\x04" + bytes(60), b"[1]"])
def test_files_that_are_no_state(content: bytes, tmp_path: Path) -> None:
    (tmp_path / STATE_NAME).write_bytes(content)
    with pytest.raises(TrainingError, match="is damaged or not a training state"):
        _state().restore(tmp_path)


def test_weights_of_another_shape_with_as_many_values(saved: Path) -> None:
    content = torch.load(saved / STATE_NAME, weights_only=True)
    name, value = next((k, v) for k, v in content["parts"].items() if v.dim() == 4)
    turned = {**content["parts"], name: value.reshape(value.shape[::-1])}
    assert turned[name].shape != value.shape
    _altered(saved, parts=turned)
    with pytest.raises(TrainingError, match="is damaged or not a training state"):
        _state().restore(saved)


def test_another_configuration_and_other_materials(saved: Path) -> None:
    config = json.loads(torch.load(saved / STATE_NAME, weights_only=True)["config"])
    _altered(saved, config=json.dumps({**config, "seed": 7}))
    with pytest.raises(TrainingError, match="another configuration"):
        _state().restore(saved)
    _altered(saved, materials={"photos": "q"})
    with pytest.raises(TrainingError, match="other photos"):
        _state().restore(saved)


@pytest.mark.parametrize("failure", [RuntimeError, OSError, KeyboardInterrupt])
def test_a_save_that_fails_keeps_the_state_before(
    failure: type[BaseException], saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (saved / STATE_NAME).read_bytes()

    def write_half(content: object, path: Path) -> None:
        Path(path).write_bytes(b"half")
        raise failure("No space left on device")

    monkeypatch.setattr(torch, "save", write_half)
    with pytest.raises(TrainingError if failure is RuntimeError else failure):
        _state(seed=1).save(saved)
    assert [path.name for path in saved.iterdir()] == [STATE_NAME]
    assert (saved / STATE_NAME).read_bytes() == before
