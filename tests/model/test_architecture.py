"""Every width, block and number of the architectures, by what comes of it."""

import dataclasses
import hashlib
import json
import math
from typing import Any

import pytest
import torch
from torch import nn

from elir_edge.model import (
    Elir,
    ModelConfig,
    draw_noise,
    initialize,
    nano_config,
    paper_config_for,
)
from elir_edge.model.collapsible import CollapsibleConv2d
from elir_edge.model.config import sensor_config
from tests.conftest import make_model

# Widths that are all different, so that no layer can take another's place unnoticed.
ODD = ModelConfig(
    variant="odd",
    latent_channels=5,
    autoencoder_widths=(6, 7, 9),
    autoencoder_blocks=(1, 2, 3),
    autoencoder_convs=3,
    autoencoder_stem_stride=2,
    decoder_head_width=4,
    decoder_upsample="transpose2",
    coarse_blocks=2,
    coarse_width=3,
    velocity_width=8,
    velocity_multipliers=(1, 2),
    velocity_mid_blocks=2,
    velocity_upsample="transpose2",
    norm="none",
    time_features=6,
    time_width=10,
    num_steps=3,
    sigma_s=0.3,
)
ODD_PUBLISHED = ModelConfig(
    variant="odd-published",
    latent_channels=5,
    autoencoder_widths=(4, 6, 7, 9),
    autoencoder_blocks=(1, 2, 1, 2),
    autoencoder_convs=2,
    coarse_blocks=1,
    coarse_width=3,
    velocity_width=32,
    velocity_multipliers=(2, 1, 2),
    time_features=6,
    time_width=10,
    num_steps=2,
)


def _shapes(config: ModelConfig) -> dict[str, list[int]]:
    with torch.device("meta"):
        model = Elir(config)
    return {name: list(value.shape) for name, value in model.state_dict().items()}


def _summary(config: ModelConfig) -> tuple[int, int, str]:
    """Return tensors, parameters, and the first digits of the SHA-256 of names and shapes."""
    shapes = _shapes(config)
    digest = hashlib.sha256(json.dumps(shapes, sort_keys=True).encode()).hexdigest()
    return len(shapes), sum(math.prod(shape) for shape in shapes.values()), digest[:12]


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (nano_config(), (176, 2_363_623, "c66593b3217d")),
        (sensor_config(), (170, 1_472_447, "2af1b524e996")),
        (nano_config(expansion=4), (228, 5_793_351, "c294698580c5")),
        (paper_config_for("bfr", num_steps=5, sigma_s=0.1), (376, 37_518_771, "be9e445b19f0")),
        (paper_config_for("bsr", num_steps=3, sigma_s=0.04), (352, 19_083_923, "0bf764ff1172")),
        (paper_config_for("sr", num_steps=3, sigma_s=0.1), (352, 26_893_747, "2ba16761eb12")),
        (ODD, (210, 53_382, "32694e261a6d")),
        (ODD_PUBLISHED, (196, 1_047_906, "e7934687bf68")),
    ],
    ids=lambda each: each.variant if isinstance(each, ModelConfig) else "",
)
def test_names_and_shapes(config: ModelConfig, expected: tuple[int, int, str]) -> None:
    assert _summary(config) == expected


@pytest.mark.parametrize("make", [nano_config, sensor_config])
def test_defaults_of_own_variants(make: Any) -> None:
    assert (make().num_steps, make().sigma_s) == (3, 0.1)
    assert (make(num_steps=5, sigma_s=0.2).num_steps, make(sigma_s=0.2).sigma_s) == (5, 0.2)
    assert make().size_multiple == {"nano": 32, "sensor": 16}[make().variant]


def test_defaults_are_the_published_bfr_s_but_for_its_flow() -> None:
    default = ModelConfig(variant="paper", velocity_mid_blocks=3)
    assert default == paper_config_for("bfr", num_steps=3, sigma_s=0.1)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (
            ODD,
            [
                -0.06577377930896411,
                0.17775610028041877,
                -0.11195712239705952,
                -0.1487175807630406,
                0.2862001253981067,
                -0.52363149890764,
            ],
        ),
        (
            ODD_PUBLISHED,
            [
                -0.32057836924766586,
                -1.1736015474243344,
                1.062119601876521,
                -1.1750864534073393,
                -1.7915793050819182,
                2.707437731683613,
            ],
        ),
    ],
)
def test_the_computation_is_unchanged(config: ModelConfig, expected: list[float]) -> None:
    """Against recorded values, float64, 1e-9: any other operation, order or constant shows.

    Biases and norms are drawn as well, as `initialize` leaves them at zero and one.
    """
    model = make_model(config).double()
    generator = torch.Generator().manual_seed(1)
    for value in model.state_dict().values():
        value += 0.1 * torch.randn(value.shape, generator=generator, dtype=value.dtype)
    image = torch.rand(2, 3, 32, 64, generator=generator, dtype=torch.float64)
    noise = draw_noise(config, 32, 64, batch=2, seed=2).double()
    restored = model(image, noise)
    assert restored.shape == image.shape
    found = restored.flatten()[:: restored.numel() // len(expected)][: len(expected)]
    assert found.tolist() == pytest.approx(expected, abs=1e-9)
    # The twin: one weight that is one in a million off.
    next(model.velocity.parameters()).data[0] += 1e-6
    changed = model(image, noise).flatten()[:: restored.numel() // len(expected)]
    assert changed[: len(expected)].tolist() != pytest.approx(expected, abs=1e-9)


def _deviation(layer: nn.Module) -> float:
    assert isinstance(layer.weight, torch.Tensor)
    return float(layer.weight.std())


def test_every_kind_of_layer_starts_with_its_variance() -> None:
    """He's 2 over the fan-in where an activation follows, 1 where none does, a tenth at ends.

    Deviations of thousands of draws: within 6 %.
    """
    model = make_model(nano_config(expansion=4))
    encoder, velocity = model.encoder.layers, model.velocity
    block = velocity.down[0].block
    checks = [
        (encoder[0], 2 / 27, 1.0),
        (encoder[1].convs[0], 2 / (36 * 9), 1.0),
        (encoder[1].convs[-1], 2 / (36 * 9), 0.1),
        (model.decoder.layers[-3], 1 / 36, 1.0),
        (model.coarse.blocks[0].dense[0].convs[1].expand, 2 / (40 * 9), 1.0),
        (model.coarse.blocks[0].dense[0].convs[1].project, 1 / 96, 1.0),
        (velocity.in_proj, 1 / 16, 1.0),
        (velocity.out_proj, 1 / 40, 0.1),
        (velocity.time.linear1, 2 / 32, 1.0),
        (block.time, 1 / 32, 1.0),
        (block.skip, 1 / 40, 1.0),
        (block.conv1.expand, 2 / (40 * 9), 1.0),
        (block.conv1.project, 1 / 160, 1.0),
        (block.conv2.project, 1 / 160, 0.1),
        (velocity.up[0].resample, 1 / 160, 1.0),
    ]
    for layer, variance, gain in checks:
        assert _deviation(layer) == pytest.approx(gain * math.sqrt(variance), rel=0.06), layer
    for module in model.modules():
        if (
            isinstance(module, nn.Conv2d | nn.Linear | nn.ConvTranspose2d)
            and module.bias is not None
        ):
            assert module.bias.abs().max() == 0
    assert any(isinstance(module, CollapsibleConv2d) for module in model.modules())


def test_parts_that_a_configuration_leaves_out_are_identities() -> None:
    pixel = dataclasses.replace(ODD, space="pixel", latent_channels=3)
    model = make_model(pixel)
    assert isinstance(model.encoder, nn.Identity)
    assert isinstance(model.decoder, nn.Identity)
    assert not isinstance(model.velocity, nn.Identity)
    assert (pixel.latent_factor, pixel.size_multiple) == (1, 2)
    still = make_model(dataclasses.replace(ODD, num_steps=0, sigma_s=0.0))
    assert isinstance(still.velocity, nn.Identity)
    assert not isinstance(still.encoder, nn.Identity)
    z = torch.ones(1, 5, 2, 2)
    assert still.trajectory(z) == [z]
    one = make_model(dataclasses.replace(ODD, num_steps=1))
    assert not isinstance(one.velocity, nn.Identity)


def test_euler_s_times_and_steps() -> None:
    """z_(i+1) = z_i + v(z_i, i / K) / K (Algorithm 1), by a field that tells its time."""
    model = make_model(ODD)

    class Time(nn.Module):
        def forward(self, z: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
            return torch.zeros_like(z) + t.view(-1, 1, 1, 1)

    model.velocity = Time()  # type: ignore[assignment]
    z = torch.zeros(2, 5, 1, 1)
    levels = [float(state[1, 0, 0, 0]) for state in model.trajectory(z)]
    assert levels == pytest.approx([0, 0, 1 / 9, 3 / 9], abs=1e-6)
    levels = [float(state[0, 0, 0, 0]) for state in model.trajectory(z, num_steps=4)]
    assert levels == pytest.approx([0, 0, 1 / 16, 3 / 16, 6 / 16], abs=1e-6)


def test_the_draw_s_shape() -> None:
    draw = draw_noise(ODD, 32, 64, batch=2, seed=3)
    assert draw.shape == (2, 5, 4, 8)
    assert torch.equal(draw, draw_noise(ODD, 32, 64, batch=2, seed=3))
    assert draw_noise(ODD, 32, 64).shape == (1, 5, 4, 8)
    assert torch.equal(draw_noise(ODD, 32, 64), draw_noise(ODD, 32, 64, seed=0))
    double = torch.randn((2, 5, 4, 8), generator=torch.Generator().manual_seed(3)) * 0.3
    assert torch.equal(draw, double)


def test_initialize_reaches_every_weight() -> None:
    model = Elir(ODD)
    for value in model.parameters():
        value.data.fill_(7.0)
    initialize(model, torch.Generator().manual_seed(0))
    assert not any((value == 7).any() for value in model.parameters())
