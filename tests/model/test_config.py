"""Model configurations say no to what cannot be."""

from typing import Any

import pytest

from elir_edge.errors import ConfigError
from elir_edge.model import ModelConfig, nano_config, paper_config_for
from tests.conftest import tiny_config


@pytest.mark.parametrize(
    "config",
    [nano_config(), tiny_config(expansion=4), paper_config_for("bfr", num_steps=5, sigma_s=0.1)],
)
def test_round_trip(config: ModelConfig) -> None:
    assert ModelConfig.from_dict(config.to_dict()) == config


def test_unknown_and_missing_keys() -> None:
    with pytest.raises(ConfigError, match="unknown model configuration keys legs"):
        ModelConfig.from_dict({**nano_config().to_dict(), "legs": 4})
    with pytest.raises(ConfigError, match="variant"):
        ModelConfig.from_dict({})


@pytest.mark.parametrize(
    "fields",
    [
        {"autoencoder_widths": (64, 64)},
        {"autoencoder_blocks": (1,)},
        {"autoencoder_stem_stride": 3},
        {"decoder_upsample": "bilinear"},
        {"velocity_upsample": "bilinear"},
        {"velocity_multipliers": (1, 3)},
        {"norm": "batch"},
        {"activation": "gelu"},
        {"velocity_width": 48},
        {"time_features": 7},
        {"sigma_s": -0.1},
        {"expansion": 2},
        {"num_steps": 0},
        {"coarse_width": 0},
    ],
)
def test_invalid_fields(fields: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="'x' is invalid"):
        ModelConfig(variant="x", **fields)


@pytest.mark.parametrize(
    "name", ["x/../../../pwn", "", "..", "a b", "A", "x" * 41, "x\n", "ü", 3, None, ["x"]]
)
def test_variants_are_names_of_files(name: Any) -> None:
    with pytest.raises(ConfigError, match="impossible name"):
        ModelConfig(variant=name)


@pytest.mark.parametrize(
    "fields",
    [
        {"num_steps": 10**9},
        {"autoencoder_widths": (10**9,) * 4},
        {"autoencoder_blocks": (1, 3, 3, 10**9)},
        {"autoencoder_widths": (64,) * 1000},
        {"velocity_multipliers": (1,) * 1000},
        {"velocity_mid_blocks": 10**6},
        {"coarse_blocks": 10**6},
        {"time_width": 10**9},
        {"num_steps": 3.0},
        {"num_steps": True},
        {"num_steps": "3"},
        {"coarse_width": None},
        {"autoencoder_widths": ("64",) * 4},
        {"autoencoder_widths": ((64,),) * 4},
        {"velocity_multipliers": 2},
        {"sigma_s": float("nan")},
        {"sigma_s": "0.1"},
    ],
    ids=str,
)
def test_sizes_and_types_are_asked_before_memory(fields: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="'x' is invalid"):
        ModelConfig(variant="x", **fields)


_MOST = {
    "latent_channels": 512,
    "autoencoder_convs": 16,
    "decoder_head_width": 2048,
    "coarse_blocks": 64,
    "coarse_width": 2048,
    "velocity_width": 2048,
    "velocity_mid_blocks": 64,
    "time_features": 8192,
    "time_width": 8192,
    "num_steps": 1000,
}


@pytest.mark.parametrize(("name", "most"), _MOST.items())
def test_the_largest_of_each_size_passes_and_one_more_does_not(name: str, most: int) -> None:
    fields = {"variant": "x", "norm": "none", "autoencoder_stem_stride": 2}
    fields |= {"autoencoder_widths": (8, 8, 8), "autoencoder_blocks": (1, 1, 1)}
    ModelConfig(**fields | {name: most})  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=f"whole numbers, {most} at most"):
        ModelConfig(**fields | {name: most + 1})  # type: ignore[arg-type]


def test_the_widest_and_deepest_levels() -> None:
    ModelConfig(variant="x", autoencoder_widths=(2048,) * 4, autoencoder_blocks=(64,) * 4)
    for fields in ({"autoencoder_widths": (2049,) * 4}, {"autoencoder_blocks": (65,) * 4}):
        with pytest.raises(ConfigError, match="at most"):
            ModelConfig(variant="x", **fields)  # type: ignore[arg-type]
    ModelConfig(variant="x", velocity_multipliers=(1,) * 8)
    with pytest.raises(ConfigError, match="at most"):
        ModelConfig(variant="x", velocity_multipliers=(1,) * 9)


@pytest.mark.parametrize(
    ("least", "below"),
    [
        ({"latent_channels": 1}, {"latent_channels": 0}),
        ({"autoencoder_convs": 1}, {"autoencoder_convs": 0}),
        ({"coarse_blocks": 0}, {"coarse_blocks": -1}),
        ({"coarse_width": 1}, {"coarse_width": 0}),
        ({"velocity_mid_blocks": 1}, {"velocity_mid_blocks": 0}),
        ({"time_features": 4}, {"time_features": 2}),
        ({"time_width": 1}, {"time_width": 0}),
        ({"num_steps": 0, "sigma_s": 0.0}, {"num_steps": -1, "sigma_s": 0.0}),
        ({"num_steps": 1, "sigma_s": 0.1}, {"num_steps": 0, "sigma_s": 0.1}),
        ({"sigma_s": 0.0}, {"sigma_s": -0.001}),
        ({"velocity_width": 32}, {"velocity_width": 31}),
        ({"velocity_width": 1, "norm": "none"}, {"velocity_width": 0, "norm": "none"}),
        ({"expansion": 4}, {"expansion": 3}),
        ({"space": "pixel", "latent_channels": 3}, {"space": "pixel", "latent_channels": 4}),
        ({"decoder_head_width": 0}, {"decoder_head_width": 1}),
        ({"autoencoder_stem_stride": 1}, {"autoencoder_stem_stride": 0}),
    ],
    ids=str,
)
def test_the_least_of_each_passes(least: dict[str, Any], below: dict[str, Any]) -> None:
    ModelConfig(variant="x", **least)
    with pytest.raises(ConfigError):
        ModelConfig(variant="x", **below)


def test_names_of_forty_letters_pass() -> None:
    assert ModelConfig(variant="x" * 40).variant == "x" * 40


def test_collapsed_changes_the_expansion_only() -> None:
    config = nano_config(expansion=4)
    assert config.collapsed() == nano_config()
