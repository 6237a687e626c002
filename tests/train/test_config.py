"""Training configurations and presets."""

import dataclasses
from typing import Any

import pytest
import torch

from elir_edge.errors import ConfigError, UsageError
from elir_edge.model import Elir
from elir_edge.tasks import AUTOENCODER, TASKS
from elir_edge.train.config import TrainConfig
from elir_edge.train.presets import adapt, get_preset


@pytest.mark.parametrize("task", [*TASKS, AUTOENCODER])
def test_presets_round_trip(task: str) -> None:
    config = get_preset("nano", task)
    assert config.task == task
    assert TrainConfig.from_dict(config.to_dict()) == config
    if task in TASKS:
        assert config.model.num_steps == TASKS[task].num_steps
        assert config.model.sigma_s == (0.02 if task == "bfr" else TASKS[task].sigma_s)


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
        {"coarse_steps": 10**9},
        {"refine_steps": 10**9},
        {"unrolled_steps": 10**9, "coarse_steps": 1},
        {"unrolled_steps": 1, "coarse_steps": 0},
        {"ema_decay": 1.0},
        {"precision": "fp8"},
        {"latent_noise": -1.0},
        {"dt": 0.0},
        {"beta": 1.5},
        {"alpha": -1.0},
        {"framing": "letterbox"},
        {"objective": "diffusion"},
    ],
)
def test_invalid_fields(fields: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="training configuration is invalid"):
        dataclasses.replace(get_preset("nano", "sr"), **fields)


TABLE_6 = {
    "bfr": (64, 400, 70_000, 1e-4, 0.05, 512, 5, 0.1, "whole"),
    "sr": (128, 250, 70_000, 2e-4, 0.05, 256, 3, 0.1, "whole"),
    "denoising": (128, 250, 70_000, 2e-4, 0.05, 256, 3, 0.1, "whole"),
    "inpainting": (128, 250, 70_000, 2e-4, 0.05, 256, 3, 0.1, "whole"),
    "bsr": (128, 50, 1_281_167, 2e-4, 0.2, 256, 3, 0.04, "crop"),
}


@pytest.mark.parametrize("task", TASKS)
def test_paper_is_table_6(task: str) -> None:
    batch, epochs, images, rate, dt, side, num_steps, sigma_s, framing = TABLE_6[task]
    config = get_preset("paper", task)
    assert (config.batch_size, config.learning_rate, config.dt) == (batch, rate, dt)
    assert config.steps == -(-epochs * images // batch)
    assert (config.crop_size, config.framing) == (side, framing)
    assert (config.model.num_steps, config.model.sigma_s) == (num_steps, sigma_s)
    assert (config.alpha, config.beta, config.sigma_min) == (1e-3, 1e-3, 1e-5)
    assert (config.weight_decay, config.ema_decay) == (0.02, 0.999)
    assert (config.betas, config.adam_eps) == ((0.9, 0.999), 1e-8)
    assert (config.schedule, config.warmup_steps) == ("constant", 0)
    assert config.model.expansion == 4


@pytest.mark.parametrize("millions", [13, 19, 27, 37])
def test_model_sizes_of_table_9(millions: int) -> None:
    config = adapt(get_preset("paper", "sr"), model_size=millions)
    with torch.device("meta"):
        model = Elir(config.model.collapsed())
    # 13.41, 19.08, 26.89 and 37.52 million.
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(millions, abs=0.6)


def test_sizes_beyond_table_9() -> None:
    with pytest.raises(UsageError, match="no model of 20 million"):
        adapt(get_preset("paper", "sr"), model_size=20)
    with pytest.raises(UsageError, match="with --preset paper"):
        adapt(get_preset("nano", "sr"), model_size=13)


def test_a_width_of_the_vector_field() -> None:
    config = adapt(get_preset("sensor", "sr"), velocity_width=64)
    assert config.model.velocity_width == 64
    assert adapt(get_preset("sensor", "sr")).model.velocity_width != 64
    with pytest.raises(UsageError, match="a size of the model and a width at once"):
        adapt(get_preset("paper", "sr"), model_size=13, velocity_width=64)


def test_ablations_change_what_they_name() -> None:
    start = get_preset("nano", "denoising")
    assert adapt(start) == start
    assert adapt(start, num_steps=5).model.num_steps == 5
    assert adapt(start, sigma_s=0.2).model.sigma_s == 0.2
    assert adapt(start, coarse=False).model.coarse_blocks == 0
    assert adapt(start, objective="fm").objective == "fm"
    none = adapt(start, objective="none")
    assert (none.model.num_steps, none.model.sigma_s) == (0, 0.0)
    pixel = adapt(start, space="pixel").model
    assert (pixel.space, pixel.latent_channels, pixel.latent_factor) == ("pixel", 3, 1)


def test_contradicting_ablations() -> None:
    start = get_preset("nano", "denoising")
    with pytest.raises(ConfigError, match="num_steps 0 with objective"):
        adapt(start, objective="none", num_steps=3)
    with pytest.raises(ConfigError, match="num_steps 0 with objective"):
        adapt(start, num_steps=0, sigma_s=0.0)
    with pytest.raises(ConfigError, match="sigma_s 0 where there is no flow"):
        adapt(start, objective="none", sigma_s=0.1)
    with pytest.raises(ConfigError, match="an autoencoder's latent"):
        adapt(get_preset("nano", AUTOENCODER), space="pixel")
