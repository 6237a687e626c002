"""Training configurations and presets."""

import dataclasses
import math
from typing import Any

import pytest
import torch
from torch import nn

from elir_edge.errors import ConfigError, UsageError
from elir_edge.model import Elir, paper_config_for
from elir_edge.tasks import AUTOENCODER, TASKS
from elir_edge.train.config import TrainConfig
from elir_edge.train.objectives import RestorationObjective, lcfm_settings
from elir_edge.train.presets import adapt, get_preset
from elir_edge.train.state import TrainState

NANO_SIGMA_S = {"bfr": 0.05, "sr": 0.025, "denoising": 0.025, "inpainting": 0.025, "bsr": 0.025}


@pytest.mark.parametrize("task", [*TASKS, AUTOENCODER])
def test_presets_round_trip(task: str) -> None:
    config = get_preset("nano", task)
    assert config.task == task
    assert TrainConfig.from_dict(config.to_dict()) == config
    if task in TASKS:
        assert (config.model.num_steps, config.model.sigma_s) == (3, NANO_SIGMA_S[task])


_RUNS: dict[tuple[str, str], dict[str, Any]] = {
    ("nano", "sr"): {
        "steps": 5200, "coarse_steps": 1800, "unrolled_steps": 3000, "end_to_end": True,
        "batch_size": 8, "crop_size": 128, "min_scale": 0.5, "learning_rate": 2e-3,
        "schedule": "cosine", "warmup_steps": 200, "dt": 0.1, "beta": 0.0, "loss": "published",
        "teacher_crops": 3200,
    },
    ("nano", "autoencoder"): {
        "steps": 20_000, "decoder_steps": 16_000, "batch_size": 8, "crop_size": 128,
        "min_scale": 0.5, "learning_rate": 4e-3, "schedule": "cosine", "warmup_steps": 200,
        "weight_decay": 0.0, "lpips": 0.5, "grid": 2.0, "teacher_crops": 3200,
    },
    ("sensor", "sr"): {
        "steps": 2500, "coarse_steps": 1000, "refine_steps": 1000, "unrolled_steps": 1500,
        "end_to_end": True, "batch_size": 8, "crop_size": 128, "min_scale": 0.5,
        "learning_rate": 1e-3, "schedule": "cosine", "warmup_steps": 100, "dt": 0.1,
        "rounded": True,
    },
    ("sensor", "autoencoder"): {
        "steps": 2000, "decoder_steps": 2000, "batch_size": 8, "crop_size": 128, "min_scale": 0.5,
        "learning_rate": 4e-3, "schedule": "cosine", "warmup_steps": 200, "weight_decay": 0.0,
        "lpips": 0.5, "grid": 2.0, "teacher_crops": 3200,
    },
    ("paper", "autoencoder"): {
        "steps": 400_000, "batch_size": 32, "crop_size": 256, "learning_rate": 5e-4,
        "schedule": "cosine", "warmup_steps": 200, "latent_noise": 0.05, "precision": "bf16",
    },
}  # fmt: skip


@pytest.mark.parametrize(("preset", "task"), _RUNS)
def test_runs_of_the_presets(preset: str, task: str) -> None:
    """What they say beyond the defaults, by which the cards' weights are made again."""
    config = get_preset(preset, task)
    defaults = {
        field.name: field.default
        for field in dataclasses.fields(TrainConfig)
        if field.default is not dataclasses.MISSING
    }
    said = {
        field.name: getattr(config, field.name)
        for field in dataclasses.fields(TrainConfig)
        if field.name not in {"task", "model"}
        and getattr(config, field.name) != defaults.get(field.name)
    }
    assert said == _RUNS[preset, task]


def test_runs_of_single_tasks() -> None:
    """Noise and holes of all strengths; faces in large crops of one scale."""
    assert get_preset("nano", "denoising").degradation == "broad"
    assert get_preset("sensor", "denoising").degradation == "broad"
    assert get_preset("nano", "inpainting").degradation == "broad"
    faces = get_preset("nano", "bfr")
    assert (faces.batch_size, faces.crop_size, faces.min_scale) == (2, 256, 1.0)


def test_unknown_presets_tasks_and_keys() -> None:
    with pytest.raises(UsageError, match="unknown preset"):
        get_preset("huge", "sr")
    with pytest.raises(UsageError, match="unknown task"):
        get_preset("nano", "deblurring")
    with pytest.raises(ConfigError, match="malformed"):
        TrainConfig.from_dict({**get_preset("nano", "sr").to_dict(), "momentum": 1})


_NOTHING_LEARNS = {"trainable_encoder": False, "trainable_coarse": False}


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
        {"loss": "huber"},
        {"initialization": "zeros"},
        {"clip_norm": 0.0},
        {"ema_warmup": -1},
        {"min_scale": 0.0},
        {"min_scale": 1.5},
        {"lpips": -0.1},
        {"grid": -0.1},
        {"teacher_crops": -1},
        {"decoder_steps": 10**9},
        {"crop_size": 4096},
        {"batch_size": 10**8},
        {"teacher_crops": 10**20},
        {"seed": 10**20},
        {"seed": -1},
        {"grid": 1.0, "crop_size": 96},
        {"grid": 1.0, "unrolled_steps": 0},
        {"decoder_steps": 1},
        {"lpips": math.inf},
        {"alpha": math.nan},
        {"trainable_encoder": False, "trainable_coarse": False},
        {"coarse_steps": 1, "unrolled_steps": 0, "refine_steps": 0} | _NOTHING_LEARNS,
        {"batch_size": 1025, "crop_size": 512},
        {"crop_size": 2064},
        {"crop_size": 0},
        {"warmup_steps": -1},
        {"coarse_steps": -1},
        {"refine_steps": -1},
        {"unrolled_steps": -1},
        {"decoder_steps": -1},
        {"ema_decay": -0.1},
        {"dt": 1.0},
        {"beta": -0.1},
        {"seed": 1 << 31},
        {"teacher_crops": 1_000_001},
    ],
)
def test_invalid_fields(fields: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="training configuration is invalid"):
        dataclasses.replace(get_preset("nano", "sr"), **fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"batch_size": 1024, "crop_size": 512},
        {"batch_size": 1, "crop_size": 2048},
        {"warmup_steps": 10, "steps": 10},
        {"steps": 1},
        {"refine_steps": 4, "coarse_steps": 4},
        {"coarse_steps": 10},
        {"coarse_steps": 0} | _NOTHING_LEARNS,
        {"ema_decay": 0.0},
        {"grid": 1.0, "crop_size": 64, "unrolled_steps": 1, "coarse_steps": 1},
        {"clip_norm": None},
        {"min_scale": 1.0},
        {"teacher_crops": 1_000_000},
        {"seed": (1 << 31) - 1},
        {"alpha": 0.0},
        {"beta": 0.0},
        {"beta": 1.0},
    ],
)
def test_the_ends_of_the_ranges(fields: dict[str, Any]) -> None:
    short = {"steps": 10, "warmup_steps": 0, "coarse_steps": 0, "unrolled_steps": 0}
    config = dataclasses.replace(get_preset("nano", "sr"), **(short | {"refine_steps": 0} | fields))
    assert {name: getattr(config, name) for name in fields} == fields


def test_an_autoencoder_has_no_coarse_phase() -> None:
    autoencoder = get_preset("nano", "autoencoder")
    assert autoencoder.coarse_steps == 0
    with pytest.raises(ConfigError, match="coarse_steps 0 for an autoencoder"):
        dataclasses.replace(autoencoder, coarse_steps=1)


TABLE_6 = {
    "bfr": (64, 400, 70_000, 1e-4, 0.05, 512, 5, 0.1, "whole"),
    "sr": (128, 250, 70_000, 2e-4, 0.05, 256, 3, 0.1, "whole"),
    "denoising": (128, 250, 70_000, 2e-4, 0.05, 256, 3, 0.025, "whole"),
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
    # What the paper leaves open is the published code's.
    assert (config.loss, config.ema_warmup, config.initialization) == ("published", 2000, "torch")
    assert (config.clip_norm, config.lpips) == (None, 0.0)


@pytest.mark.parametrize("task", TASKS)
def test_the_papers_numbers_reach_optimizer_and_objective(task: str) -> None:
    _, _, _, rate, dt, _, num_steps, sigma_s, _ = TABLE_6[task]
    config = get_preset("paper", task)
    settings = lcfm_settings(config)
    assert (settings.alpha, settings.beta, settings.sigma_min) == (1e-3, 1e-3, 1e-5)
    assert (settings.dt, settings.num_segments, settings.loss) == (dt, num_steps, "published")
    with torch.device("meta"):
        model = Elir(config.model)
        objective = RestorationObjective(
            target_encoder=model.encoder, settings=settings, sigma_s=config.model.sigma_s
        )
        state = TrainState(config, model, objective, {})
    assert objective.sigma_s == sigma_s
    assert isinstance(state.optimizer, torch.optim.AdamW)
    (group,) = state.optimizer.param_groups
    assert group["betas"] == (0.9, 0.999)
    assert (group["lr"], group["weight_decay"], group["eps"]) == (rate, 0.02, 1e-8)
    assert state.average.decay_at(10**9) == pytest.approx(0.999)
    learning = {id(p) for p in group["params"]}
    frozen = {id(p) for p in model.decoder.parameters()}
    assert learning == {id(p) for p in model.parameters()} - frozen


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
    with pytest.raises(UsageError, match="both a model size and a velocity width"):
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


def test_flow_matching_has_no_dt() -> None:
    """25 steps are too short for consistency at dt = 0.05, and nothing to flow matching."""
    fm = adapt(get_preset("paper", "sr"), objective="fm", num_steps=25)
    assert lcfm_settings(fm).num_segments == 1
    with pytest.raises(ConfigError, match="dt <= 1 / num_segments"):
        lcfm_settings(adapt(get_preset("paper", "sr"), num_steps=25))


def test_widths_have_a_bound() -> None:
    with pytest.raises(
        ConfigError, match="velocity_width 100000; expected whole numbers, 2048 at most"
    ):
        adapt(get_preset("nano", "sr"), velocity_width=100_000)


def test_expansion_is_chosen() -> None:
    assert adapt(get_preset("nano", "sr"), expansion=0).model.expansion == 0
    with pytest.raises(ConfigError, match="expansion 0 or 4"):
        adapt(get_preset("nano", "sr"), expansion=3)


def test_the_autoencoder_is_cheap() -> None:
    """At most 1.6 GMAC each at 256, and its decoder's last layer shares its kernel over phases."""
    config = get_preset("nano", AUTOENCODER).model
    model = Elir(config)
    image = torch.zeros(1, 3, 256, 256)
    macs = [work(model.encoder, image), work(model.decoder, model.encoder(image))]
    assert max(macs) <= 1.6e9
    assert work(Elir(paper_config_for("sr", num_steps=3, sigma_s=0.1)).encoder, image) > 1e10
    last = model.decoder.layers[-1]
    assert isinstance(last, nn.Conv2d)
    assert last.kernel_size == (3, 3)


def work(network: nn.Module, x: torch.Tensor) -> int:
    """Return the multiply-accumulates of a network's convolutions."""
    total = 0

    def count(layer: nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor) -> None:
        nonlocal total
        cells = inputs[0] if isinstance(layer, nn.ConvTranspose2d) else output
        total += layer.weight.numel() * cells.shape[2] * cells.shape[3]

    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            layer.register_forward_hook(count)
    with torch.no_grad():
        network(x)
    return total


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
