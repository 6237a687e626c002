"""Complete training configurations by name, and the paper's ablations as changes to them."""

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from elir_edge.errors import UsageError
from elir_edge.model.config import (
    ModelConfig,
    nano_config,
    paper_config_for,
    sensor_config,
)
from elir_edge.tasks import AUTOENCODER, get_task
from elir_edge.train.config import TrainConfig

_FFHQ_IMAGES = 70_000
_IMAGENET_IMAGES = 1_281_167


@dataclass(frozen=True, kw_only=True)
class _Table6:
    """A column of the paper's Table 6, with the size of the data set (section 5.1)."""

    num_images: int
    epochs: int
    batch_size: int
    learning_rate: float
    dt: float
    framing: Literal["crop", "whole"]


_FACES = _Table6(
    num_images=_FFHQ_IMAGES,
    epochs=250,
    batch_size=128,
    learning_rate=2e-4,
    dt=0.05,
    framing="whole",
)
_TABLE_6: dict[str, _Table6] = {
    "bfr": dataclasses.replace(_FACES, epochs=400, batch_size=64, learning_rate=1e-4),
    "sr": _FACES,
    "denoising": _FACES,
    "inpainting": _FACES,
    "bsr": _Table6(
        num_images=_IMAGENET_IMAGES,
        epochs=50,
        batch_size=128,
        learning_rate=2e-4,
        dt=0.2,
        framing="crop",
    ),
}

_VELOCITY_SIZES: dict[int, tuple[int, int]] = {13: (64, 1), 19: (96, 1), 27: (128, 1), 37: (128, 3)}
"""Maps millions of parameters of the model (Table 9) to base width and mid blocks of the U-Net."""


def paper(task: str) -> TrainConfig:
    """Return the paper's run (Table 6); alpha, beta, sigma_min and AdamW's options are defaults.

    The number of steps follows from the paper's epochs and data set (FFHQ; ImageNet for bsr).
    Details that the text does not give are taken from the published code: the LCFM variant, the
    warm-up of the EMA, torch's default initialisation and no gradient clipping.
    """
    column, properties = _TABLE_6[get_task(task).name], get_task(task)
    return TrainConfig(
        task=task,
        model=paper_config_for(
            task, num_steps=properties.num_steps, sigma_s=properties.sigma_s, expansion=4
        ),
        steps=math.ceil(column.epochs * column.num_images / column.batch_size),
        batch_size=column.batch_size,
        crop_size=properties.image_size,
        learning_rate=column.learning_rate,
        framing=column.framing,
        dt=column.dt,
        loss="published",
        ema_warmup=_PUBLISHED_EMA_WARMUP,
        initialization="torch",
        clip_norm=None,
        precision="bf16",
    )


_PUBLISHED_EMA_WARMUP = 2000


def paper_autoencoder() -> TrainConfig:
    """Return a run for an autoencoder of the published shape; the authors' run is not published."""
    return TrainConfig(
        task=AUTOENCODER,
        model=paper_config_for("sr", num_steps=3, sigma_s=0.1),
        steps=400_000,
        batch_size=32,
        crop_size=256,
        learning_rate=5e-4,
        schedule="cosine",
        warmup_steps=200,
        latent_noise=0.05,
        precision="bf16",
    )


_CROPS = 3200
"""Crops whose teacher latents are kept; the teacher needs an hour for them on one core."""
_DEGRADATION = {"denoising": "broad", "inpainting": "broad"}
"""Degradations that cover what users have, the paper's setting included."""
_NANO_SIGMA_S = {"sr": 0.025, "inpainting": 0.025, "bsr": 0.025, "bfr": 0.05}
"""Instead of the published 0.1, of which three steps of a small field leave too much behind
(`docs/training.md`)."""
_NANO_COARSE_STEPS, _NANO_FLOW_STEPS, _NANO_UNROLLED_STEPS = 1800, 400, 3000
_FACE_RUN: dict[str, Any] = {"batch_size": 2, "crop_size": 256, "min_scale": 1.0}
"""Faces are learned in large crops at one scale, since eyes and mouths have fixed places."""


def nano_autoencoder() -> TrainConfig:
    """Return the run that distils `nano`'s encoder and decoder from TAESD3.

    Most of the steps train the decoder, whose image people see; the encoder only has to match the
    teacher's latents.
    """
    return TrainConfig(
        task=AUTOENCODER,
        model=nano_config(),
        steps=20_000,
        decoder_steps=16_000,
        batch_size=8,
        crop_size=128,
        min_scale=0.5,
        learning_rate=4e-3,
        schedule="cosine",
        warmup_steps=200,
        weight_decay=0.0,
        lpips=0.5,
        grid=2.0,
        teacher_crops=_CROPS,
    )


def nano(task: str) -> TrainConfig:
    """Return the run that trains an embedded `nano` checkpoint, sized for two CPU cores.

    First, encoder and coarse estimator are trained; then the flow, by the paper's objective without
    the image term; at the end all three, by the mean squared error of the restored image (plus a
    perceptual loss with `--lpips`).
    """
    properties = get_task(task)
    config = TrainConfig(
        task=task,
        # K = 5, as published for `bfr`, would exceed the budget for phones: 4 GMAC at 256 x 256.
        model=nano_config(
            num_steps=3, sigma_s=_NANO_SIGMA_S.get(task, properties.sigma_s), expansion=4
        ),
        steps=_NANO_COARSE_STEPS + _NANO_FLOW_STEPS + _NANO_UNROLLED_STEPS,
        coarse_steps=_NANO_COARSE_STEPS,
        unrolled_steps=_NANO_UNROLLED_STEPS,
        end_to_end=True,
        batch_size=8,
        crop_size=128,
        min_scale=0.5,
        degradation=_DEGRADATION.get(task),
        learning_rate=2e-3,
        schedule="cosine",
        warmup_steps=200,
        dt=0.1,
        beta=0.0,
        loss="published",
        teacher_crops=_CROPS,
    )
    return dataclasses.replace(config, **_FACE_RUN) if task == "bfr" else config


def sensor_autoencoder() -> TrainConfig:
    """Return the run that distils `sensor`'s decoder; `--init` gives it `nano`'s other layers."""
    return dataclasses.replace(
        nano_autoencoder(), model=sensor_config(), steps=2000, decoder_steps=2000
    )


_SENSOR_COARSE_STEPS, _SENSOR_FLOW_STEPS = 1000, 1500


def sensor(task: str) -> TrainConfig:
    """Return the run that trains a `sensor` checkpoint from the task's `nano` one (`--init`).

    With the chip's rounding in the loop, encoder and coarse estimator first minimise the error of
    the decoded coarse image; then all parts minimise that of the restored image. Losses on latents
    are avoided: they weight all parts of a latent equally, which costs too much with rounding.
    """
    properties = get_task(task)
    return TrainConfig(
        task=task,
        model=sensor_config(num_steps=3, sigma_s=properties.sigma_s),
        steps=_SENSOR_COARSE_STEPS + _SENSOR_FLOW_STEPS,
        coarse_steps=_SENSOR_COARSE_STEPS,
        refine_steps=_SENSOR_COARSE_STEPS,
        unrolled_steps=_SENSOR_FLOW_STEPS,
        end_to_end=True,
        batch_size=8,
        crop_size=128,
        min_scale=0.5,
        degradation=_DEGRADATION.get(task),
        learning_rate=1e-3,
        schedule="cosine",
        warmup_steps=100,
        dt=0.1,
        rounded=True,
    )


_PRESETS: dict[str, Callable[[str], TrainConfig]] = {
    "nano": lambda task: nano_autoencoder() if task == AUTOENCODER else nano(task),
    "sensor": lambda task: sensor_autoencoder() if task == AUTOENCODER else sensor(task),
    "paper": lambda task: paper_autoencoder() if task == AUTOENCODER else paper(task),
}


def get_preset(name: str, task: str) -> TrainConfig:
    """Return the preset `name` for `task` (one of the five, or `autoencoder`).

    Raises:
        UsageError: there is no such preset or task.
    """
    if name not in _PRESETS:
        raise UsageError(f"unknown preset {name!r}", expected=f"one of {', '.join(_PRESETS)}")
    return _PRESETS[name](task)


def adapt(
    config: TrainConfig,
    *,
    space: Literal["latent", "pixel"] | None = None,
    objective: Literal["lcfm", "fm", "none"] | None = None,
    num_steps: int | None = None,
    sigma_s: float | None = None,
    coarse: bool | None = None,
    model_size: int | None = None,
    velocity_width: int | None = None,
    expansion: int | None = None,
) -> TrainConfig:
    """Return the configuration with the model changed as in an ablation of the paper.

    An argument of None changes nothing.

    Args:
        config: the configuration to start from.
        space: `pixel`: no autoencoder, the flow runs on the image (Table 5).
        objective: `lcfm`, `fm` or `none` (Tables 5 and 7); `none`: no flow, so K and sigma_s are 0.
        num_steps: K (Table 10).
        sigma_s: standard deviation of the source's noise (Table 4).
        coarse: False: no coarse estimator (Table 7).
        model_size: size of the published architecture in millions of parameters (Table 9).
        velocity_width: width of the vector field's first level; not together with `model_size`.
        expansion: 4: over-parametrised convolutions while training; 0: plain convolutions.

    Raises:
        UsageError: the size is not in Table 9, the model is not the published architecture, or
            `model_size` and `velocity_width` are both given.
        ConfigError: the changes contradict each other.
    """
    if model_size is not None and velocity_width is not None:
        raise UsageError("both a model size and a velocity width", fix="give one of the two")
    changes: dict[str, Any] = {
        "num_steps": num_steps,
        "sigma_s": sigma_s,
        "velocity_width": velocity_width,
        "expansion": expansion,
    }
    if space == "pixel":
        changes |= {"space": "pixel", "latent_channels": 3}
    if objective == "none":
        changes |= {"num_steps": num_steps or 0, "sigma_s": sigma_s or 0.0}
    if coarse is False:
        changes["coarse_blocks"] = 0
    if model_size is not None:
        changes |= _sized(config.model, model_size)
    given = {key: value for key, value in changes.items() if value is not None}
    model = dataclasses.replace(config.model, **given)
    return dataclasses.replace(
        config,
        model=model,
        objective=objective or config.objective,
        unrolled_steps=config.unrolled_steps if model.num_steps else 0,
    )


def _sized(model: ModelConfig, millions: int) -> dict[str, int]:
    if millions not in _VELOCITY_SIZES or model.variant != "paper":
        raise UsageError(
            f"no model of {millions} million parameters in preset {model.variant!r}",
            expected=f"one of {', '.join(map(str, _VELOCITY_SIZES))}, with --preset paper",
        )
    width, mid_blocks = _VELOCITY_SIZES[millions]
    return {"velocity_width": width, "velocity_mid_blocks": mid_blocks}
