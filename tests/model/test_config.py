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


def test_collapsed_changes_the_expansion_only() -> None:
    config = nano_config(expansion=4)
    assert config.collapsed() == nano_config()
