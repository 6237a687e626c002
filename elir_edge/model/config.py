"""The configuration that describes every ELIR model, published or own."""

import dataclasses
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from elir_edge.errors import ConfigError

_LATENT_FACTOR = 8
_IMAGE_CHANNELS = 3
_SIZES = ("own", "slim")
_NAME = re.compile(r"[a-z0-9-]{1,40}")
"""Valid variant names; a variant becomes part of file names."""
_MOST: Mapping[str, int] = {
    "latent_channels": 512,
    "autoencoder_widths": 2048,
    "autoencoder_blocks": 64,
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
"""Upper bounds, far above any real model, checked before memory is allocated: a file's header is
not trusted."""
_SLIM: Mapping[str, Any] = {
    "autoencoder_widths": (36, 48, 64),
    "autoencoder_blocks": (1, 2, 3),
    "autoencoder_convs": 3,
    "autoencoder_stem_stride": 2,
    "decoder_head_width": 16,
    "decoder_upsample": "transpose2",
}
"""Shape of an encoder and a decoder of 1.5 GMAC each at 256."""
_PER_LEVEL = ("autoencoder_widths", "autoencoder_blocks", "velocity_multipliers")
_MOST_LEVELS = 8


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Architecture of encoder, coarse estimator, vector field and decoder (paper, section 7.3).

    Attributes:
        variant: name of the family, used in file names (`paper`, `nano`, ...).
        space: where the flow runs: `latent` (in the autoencoder's latent space) or `pixel` (on the
            image itself, without encoder and decoder; Table 5).
        latent_channels: channels of the latent; 3 in pixel space.
        autoencoder_widths: channels per level, from the finest resolution to the latent's.
        autoencoder_blocks: residual blocks per level in the encoder; the decoder mirrors them.
        autoencoder_convs: 3x3 convolutions per residual block.
        autoencoder_stem_stride: stride of the encoder's first convolution, and upsampling factor of
            the decoder's last one; with 2, no block works at full resolution.
        decoder_head_width: channels at full resolution before the decoder's last 3x3 convolution,
            for a stem of stride 2. 0: a transposed convolution writes the image directly; its four
            phases have separate weights, which can leave a faint grid.
        decoder_upsample: `nearest` (nearest x2, then a 3x3 convolution; published) or `transpose2`
            (transposed convolution, kernel 2, stride 2).
        encoder_size: `own`: the fields above; `slim`: the encoder of `nano`, which was distilled
            to replace a larger one.
        decoder_size: the same for the decoder.
        coarse_blocks: RRDB blocks of the coarse estimator, three dense blocks each. 0: no coarse
            estimator, the encoder's latent is the initial point (Table 7).
        coarse_width: growth channels of a dense block.
        velocity_width: base width of the U-Net.
        velocity_multipliers: one per down stage: 1 keeps resolution and width; 2 halves the
            resolution and doubles the width after the stage's block.
        velocity_mid_blocks: residual blocks at the lowest resolution.
        velocity_upsample: `transpose4` (published) or `transpose2`: transposed convolution with
            stride 2 and kernel 4 or 2.
        norm: `group` (32 groups, published) or `none`.
        activation: of the coarse estimator and the U-Net; the autoencoder uses ReLU.
        time_features: width of the sinusoid of t.
        time_width: width of the time embedding.
        num_steps: K, the number of flow segments and Euler steps; 0: no flow (Table 7).
        sigma_s: standard deviation of the noise added to the coarse latent.
        expansion: 0 for plain 3x3 convolutions; 4 for the over-parametrised training form
            (Bhardwaj et al., 2022).

    Raises:
        ConfigError: a field is out of range or contradicts another.
    """

    variant: str
    space: Literal["latent", "pixel"] = "latent"
    latent_channels: int = 16
    autoencoder_widths: tuple[int, ...] = (64, 64, 64, 64)
    autoencoder_blocks: tuple[int, ...] = (1, 3, 3, 3)
    autoencoder_convs: int = 3
    autoencoder_stem_stride: int = 1
    decoder_head_width: int = 0
    decoder_upsample: Literal["nearest", "transpose2"] = "nearest"
    encoder_size: Literal["own", "slim"] = "own"
    decoder_size: Literal["own", "slim"] = "own"
    coarse_blocks: int = 3
    coarse_width: int = 96
    velocity_width: int = 128
    velocity_multipliers: tuple[int, ...] = (1, 2, 1, 2)
    velocity_mid_blocks: int = 1
    velocity_upsample: Literal["transpose4", "transpose2"] = "transpose4"
    norm: Literal["group", "none"] = "group"
    activation: Literal["silu", "relu"] = "silu"
    time_features: int = 160
    time_width: int = 640
    num_steps: int = 3
    sigma_s: float = 0.1
    expansion: int = 0

    def __post_init__(self) -> None:
        """Check the ranges of the fields and the relations between them."""
        self._check_types()
        levels = len(self.autoencoder_widths)
        factor = self.autoencoder_stem_stride * 2 ** (levels - 1)
        pixel = self.space == "pixel"
        checks: list[tuple[bool, str]] = [
            (len(self.autoencoder_blocks) == levels, "one autoencoder_blocks entry per width"),
            (self.autoencoder_stem_stride in (1, 2), "autoencoder_stem_stride of 1 or 2"),
            (factor == _LATENT_FACTOR, f"stem stride and levels that reduce by {_LATENT_FACTOR}"),
            (self.decoder_head_width >= 0, "decoder_head_width >= 0"),
            (
                self.decoder_head_width == 0 or self.autoencoder_stem_stride == 2,
                "decoder_head_width 0 without a stem of stride 2",
            ),
            (self.space in ("latent", "pixel"), "space `latent` or `pixel`"),
            (not pixel or self.latent_channels == _IMAGE_CHANNELS, "3 channels in pixel space"),
            (self.coarse_blocks >= 0, "coarse_blocks >= 0"),
            (self.num_steps >= 0, "num_steps >= 0"),
            (self.num_steps > 0 or self.sigma_s == 0, "sigma_s 0 where there is no flow"),
            (set(self.velocity_multipliers) <= {1, 2}, "velocity_multipliers of 1 and 2"),
            (self.decoder_upsample in ("nearest", "transpose2"), "a known decoder_upsample"),
            (self.encoder_size in _SIZES, "encoder_size `own` or `slim`"),
            (self.decoder_size in _SIZES, "decoder_size `own` or `slim`"),
            (self.velocity_upsample in ("transpose4", "transpose2"), "a known velocity_upsample"),
            (self.norm in ("group", "none"), "norm `group` or `none`"),
            (self.activation in ("silu", "relu"), "activation `silu` or `relu`"),
            (self.norm == "none" or self.velocity_width % 32 == 0, "a width of 32n for 32 groups"),
            (self.time_features % 2 == 0 and self.time_features >= 4, "even time_features >= 4"),
            (self.sigma_s >= 0, "sigma_s >= 0"),
            (self.expansion in (0, 4), "expansion 0 or 4"),
        ]
        positive = [
            "latent_channels",
            "autoencoder_convs",
            "coarse_width",
            "velocity_width",
            "velocity_mid_blocks",
            "time_width",
        ]
        checks += [(getattr(self, name) >= 1, f"{name} >= 1") for name in positive]
        for holds, expected in checks:
            if not holds:
                raise ConfigError(
                    f"model configuration {self.variant!r} is invalid", expected=expected
                )

    def _check_types(self) -> None:
        """Check types, lengths and upper bounds before anything is computed from the fields.

        Raises:
            ConfigError: a field has the wrong type or length, or is too large.
        """
        if not isinstance(self.variant, str) or not _NAME.fullmatch(self.variant):
            raise ConfigError(
                "model configuration has an impossible name",
                got=repr(self.variant)[:60],
                expected="a variant of lower-case letters, digits and hyphens",
            )
        if type(self.sigma_s) not in (int, float) or not math.isfinite(self.sigma_s):
            raise ConfigError(
                f"model configuration {self.variant!r} is invalid", expected="sigma_s"
            )
        for name in (*_MOST, "autoencoder_stem_stride", "velocity_multipliers", "expansion"):
            value = getattr(self, name)
            values = value if isinstance(value, tuple) else (value,)
            most = _MOST.get(name, _MOST_LEVELS)
            right = isinstance(value, tuple) == (name in _PER_LEVEL) and len(values) <= _MOST_LEVELS
            if not right or any(type(each) is not int or not 0 <= each <= most for each in values):
                raise ConfigError(
                    f"model configuration {self.variant!r} is invalid",
                    got=f"{name} {value!r}"[:80],
                    expected=f"whole numbers, {most} at most",
                )

    @property
    def latent_factor(self) -> int:
        """Image pixels per latent cell along each axis: 8, or 1 in pixel space."""
        return _LATENT_FACTOR if self.space == "latent" else 1

    @property
    def size_multiple(self) -> int:
        """The number of pixels that image height and width must be multiples of."""
        return self.latent_factor * int(2 ** self.velocity_multipliers.count(2))

    @property
    def of_encoder(self) -> "ModelConfig":
        """This configuration with the encoder's sizes in the autoencoder fields."""
        return self._sized(self.encoder_size)

    @property
    def of_decoder(self) -> "ModelConfig":
        """This configuration with the decoder's sizes in the autoencoder fields."""
        return self._sized(self.decoder_size)

    def _sized(self, size: str) -> "ModelConfig":
        return self if size == "own" else dataclasses.replace(self, **_SLIM)

    def collapsed(self) -> "ModelConfig":
        """Return the configuration of the collapsed form."""
        return dataclasses.replace(self, expansion=0)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain JSON values, without encoder and decoder sizes of `own`."""
        return {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in dataclasses.asdict(self).items()
            if (key, value) not in (("encoder_size", "own"), ("decoder_size", "own"))
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "ModelConfig":
        """Rebuild a configuration from `to_dict`'s values.

        Raises:
            ConfigError: unknown or missing keys, or values of the wrong kind.
        """
        if not isinstance(values, Mapping):
            raise ConfigError(
                "malformed model configuration", got=type(values).__name__, expected="an object"
            )
        known = {field.name for field in dataclasses.fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise ConfigError(f"unknown model configuration keys {', '.join(unknown)}")
        fields: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in values.items()
        }
        try:
            return cls(**fields)
        except TypeError as error:
            raise ConfigError(f"malformed model configuration ({error})") from error


def paper_config_for(
    task: str, *, num_steps: int, sigma_s: float, expansion: int = 0
) -> ModelConfig:
    """Return a task's published architecture: bfr 37.52 M parameters, bsr 19.08 M, else 26.89 M."""
    width, mid_blocks = {"bfr": (128, 3), "bsr": (96, 1)}.get(task, (128, 1))
    return ModelConfig(
        variant="paper",
        velocity_width=width,
        velocity_mid_blocks=mid_blocks,
        num_steps=num_steps,
        sigma_s=sigma_s,
        expansion=expansion,
    )


def nano_config(*, num_steps: int = 3, sigma_s: float = 0.1, expansion: int = 0) -> ModelConfig:
    """Return the embedded default: TAESD3's latent space, convolutions only, no norms.

    Encoder and decoder (1.5 GMAC each at 256 x 256) are distilled from TAESD3 (`elir-edge train
    autoencoder --teacher`), so the decoder also fits the published checkpoints. The level at the
    latent's resolution has the shape of TAESD3's and starts from its weights. Little work is done
    at full resolution.
    """
    return ModelConfig(
        variant="nano",
        **_SLIM,
        coarse_blocks=1,
        coarse_width=24,
        velocity_width=40,
        velocity_multipliers=(2, 2),
        velocity_mid_blocks=1,
        velocity_upsample="transpose2",
        norm="none",
        time_features=32,
        time_width=32,
        num_steps=num_steps,
        sigma_s=sigma_s,
        expansion=expansion,
    )


def sensor_config(*, num_steps: int = 3, sigma_s: float = 0.1) -> ModelConfig:
    """Return the variant for Sony's IMX500, which fits the chip's 8 MB at 256 x 256.

    It is `nano` without work at full resolution and with a smaller vector field, since the chip
    stores the field's weights once per Euler step. Its weights are also trained differently: with
    the chip's rounding in the loop.
    """
    return dataclasses.replace(
        nano_config(num_steps=num_steps, sigma_s=sigma_s),
        variant="sensor",
        decoder_head_width=0,
        velocity_width=32,
        velocity_multipliers=(1, 2),
    )
