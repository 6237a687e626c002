"""Training configurations and presets."""

import dataclasses
from typing import Any

import pytest

from elir_edge.errors import ConfigError, UsageError
from elir_edge.tasks import AUTOENCODER, TASKS
from elir_edge.train.config import TrainConfig
from elir_edge.train.presets import get_preset


@pytest.mark.parametrize("task", [*TASKS, AUTOENCODER])
def test_presets_round_trip(task: str) -> None:
    config = get_preset("nano", task)
    assert config.task == task
    assert TrainConfig.from_dict(config.to_dict()) == config
    if task in TASKS:
        assert config.model.num_steps == TASKS[task].num_steps
        assert config.model.sigma_s == TASKS[task].sigma_s


def test_unknown_presets_tasks_and_keys() -> None:
    with pytest.raises(UsageError, match="unknown preset"):
        get_preset("huge", "sr")
    with pytest.raises(UsageError, match="unknown task"):
        get_preset("nano", "deblurring")
    with pytest.raises(ConfigError, match="malformed"):
        TrainConfig.from_dict({**get_preset("nano", "sr").to_dict(), "momentum": 1})


@pytest.mark.parametrize(
    "fields",
    [
        {"steps": 0},
        {"batch_size": 0},
        {"crop_size": 100},
        {"learning_rate": 0.0},
        {"schedule": "linear"},
        {"warmup_steps": 10**9},
        {"ema_decay": 1.0},
        {"precision": "fp8"},
        {"latent_noise": -1.0},
    ],
)
def test_invalid_fields(fields: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="training configuration is invalid"):
        dataclasses.replace(get_preset("nano", "sr"), **fields)
