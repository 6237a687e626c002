"""What a training run is, apart from its data."""

import dataclasses
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from elir_edge.errors import ConfigError
from elir_edge.model.config import ModelConfig
from elir_edge.tasks import AUTOENCODER

_GRID_WINDOW = 16
"""Sides are multiples of it at least, so that the grid of images can be measured."""
MAX_TEACHER_CROPS = 1_000_000
MAX_SEED = (1 << 31) - 1
MAX_BATCH_PIXELS = 1 << 28
"""1,024 crops of 512: 3 GiB for one copy of the images alone."""
MAX_CROP = 2048
"""A step on larger crops takes more memory than any one device has."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """One run; equal configs, photos and seeds give equal weights on the same machine.

    Attributes:
        task: one of the five tasks, or `autoencoder`.
        model: the architecture, in its training form; K and sigma_s are read from here.
        steps: optimizer steps of the whole run.
        batch_size: crops per step.
        crop_size: side of the crops, in pixels.
        learning_rate: AdamW's peak rate.
        schedule: constant after the warm-up, or cosine down to zero at `steps`.
        warmup_steps: linear warm-up.
        weight_decay: AdamW's.
        betas: AdamW's.
        adam_eps: AdamW's.
        ema_decay: of the weights that are saved.
        ema_warmup: n of the average's decay `ema_decay * (1 - exp(-step / n))`, so that the weights
            of the first steps are soon forgotten (the published code: 2,000); 0: no ramp.
        clip_norm: gradients are scaled down to this norm; None: never.
        initialization: `he`: see `initialize`; `torch`: the layers' own defaults (published code).
        framing: `crop`: random crops; `whole`: the central square of the photo, resized to
            `crop_size` (aligned faces).
        min_scale: photos are reduced before a crop is taken, by up to this factor; 1: never.
        degradation: by its name; None: the task's default.
        objective: `lcfm` (the paper's), `fm` (plain latent flow matching, Table 5), or `none` (the
            coarse estimator alone, Table 7; K is 0 then).
        loss: what a consistency pair that crosses a segment's end is compared with, and where the
            image's error sends its gradient: as the paper's text has it, or the published code
            (`flow.losses`).
        coarse_steps: the first so many steps minimise L_2 alone and those after them the flow's
            part alone, each with a schedule of its own; 0: both together. The parts share no
            parameters (Eq. 5), and a step of L_2 costs a third of one of both.
        refine_steps: the last so many of `coarse_steps` minimise the mean square error of the
            decoded coarse image in L_2's place, with a schedule of their own: L_2 weighs all of a
            latent alike, the decoder does not.
        unrolled_steps: the last so many steps minimise the mean square error of the restored
            image through all K Euler steps, with a schedule of their own: the flow's terms see
            points on straight paths to the truth, not those that its own steps lead to.
        end_to_end: in these, encoder and coarse estimator learn with the flow, a tenth of the
            coarse image's error added: their latent then tells the flow what its decoded image
            alone has no use for.
        psnr_loss: in these, the error is -PSNR of each image, in bels, rather than its mean square:
            the mean square of all is mostly that of busy photos, which no one can bring back.
        lpips: weight of LPIPS-squeeze (its weights are given by path): of a distilled decoder's
            image, or in the image branch of a task, beside the mean square error; 0: none.
        grid: weight of a distilled decoder's grid error (`distill.grid_error`).
        teacher_crops: crops whose teacher latents are made once and kept on disk, and which the
            run draws from; 0: any crop, the teacher runs in every step.
        decoder_steps: of a distillation: the first so many steps train the decoder, those after
            them the encoder, each with a schedule of its own.
        trainable_encoder: False keeps the encoder as the autoencoder has it (Table 8), or as the
            checkpoint has it that the run starts from.
        trainable_coarse: False keeps the coarse estimator of the checkpoint it starts from.
        dt: LCFM's time interval (Eq. 3).
        alpha: LCFM's velocity weight (Eq. 3).
        beta: share of the image's mean square error (Eq. 4).
        sigma_min: of the path (section 4.1).
        latent_noise: standard deviation added to latents while the autoencoder trains, so that
            the decoder stands small errors and the latent keeps its scale.
        rounded: every convolution reads its input in 8 bits, as on the sensor (see `rounding`).
        precision: `bf16` runs the networks under autocast; weights and losses stay float32.
        seed: of weights, crops, degradations, times and noise.

    Raises:
        ConfigError: a field is out of range.
    """

    task: str
    model: ModelConfig
    steps: int
    batch_size: int
    crop_size: int
    learning_rate: float
    schedule: Literal["constant", "cosine"] = "constant"
    warmup_steps: int = 0
    weight_decay: float = 0.02
    betas: tuple[float, float] = (0.9, 0.999)
    adam_eps: float = 1e-8
    ema_decay: float = 0.999
    ema_warmup: int = 0
    clip_norm: float | None = 1.0
    initialization: Literal["he", "torch"] = "he"
    framing: Literal["crop", "whole"] = "crop"
    min_scale: float = 1.0
    degradation: str | None = None
    objective: Literal["lcfm", "fm", "none"] = "lcfm"
    loss: Literal["paper", "published"] = "paper"
    coarse_steps: int = 0
    refine_steps: int = 0
    unrolled_steps: int = 0
    end_to_end: bool = False
    psnr_loss: bool = False
    lpips: float = 0.0
    grid: float = 0.0
    teacher_crops: int = 0
    decoder_steps: int = 0
    trainable_encoder: bool = True
    trainable_coarse: bool = True
    dt: float = 0.05
    alpha: float = 0.001
    beta: float = 0.001
    sigma_min: float = 1e-5
    latent_noise: float = 0.0
    rounded: bool = False
    precision: Literal["bf16", "fp32"] = "fp32"
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the ranges."""
        size_multiple = max(_GRID_WINDOW, self.model.size_multiple)
        checks = [
            (self.steps >= 1, "steps >= 1"),
            (self.batch_size >= 1, "batch_size >= 1"),
            (
                self.batch_size * self.crop_size**2 <= MAX_BATCH_PIXELS,
                f"at most {MAX_BATCH_PIXELS} pixels in a batch",
            ),
            (
                self.crop_size % size_multiple == 0 and 0 < self.crop_size <= MAX_CROP,
                f"crop_size in multiples of {size_multiple}, at most {MAX_CROP}",
            ),
            (self.learning_rate > 0, "learning_rate > 0"),
            (self.schedule in ("constant", "cosine"), "schedule `constant` or `cosine`"),
            (0 <= self.warmup_steps <= self.steps, "0 <= warmup_steps <= steps"),
            (0 <= self.coarse_steps <= self.steps, "0 <= coarse_steps <= steps"),
            (0 <= self.refine_steps <= self.coarse_steps, "0 <= refine_steps <= coarse_steps"),
            (
                0 <= self.unrolled_steps <= self.steps - self.coarse_steps,
                "0 <= unrolled_steps <= steps - coarse_steps",
            ),
            (0 <= self.ema_decay < 1, "ema_decay in [0, 1)"),
            (self.ema_warmup >= 0, "ema_warmup >= 0"),
            (self.clip_norm is None or self.clip_norm > 0, "clip_norm > 0, or none"),
            (self.initialization in ("he", "torch"), "initialization `he` or `torch`"),
            (0 < self.min_scale <= 1, "min_scale in (0, 1]"),
            (self.loss in ("paper", "published"), "loss `paper` or `published`"),
            (self.lpips >= 0 and self.grid >= 0, "lpips and grid >= 0"),
            (
                0 <= self.teacher_crops <= MAX_TEACHER_CROPS,
                f"teacher_crops from 0 to {MAX_TEACHER_CROPS}",
            ),
            (0 <= self.seed <= MAX_SEED, f"seed from 0 to {MAX_SEED}"),
            (
                self.task == AUTOENCODER or (self.grid == 0 and self.decoder_steps == 0),
                "grid and decoder_steps 0 for a task: they are of an autoencoder's distillation",
            ),
            (self.task == AUTOENCODER or self._learns(), "something that learns in every phase"),
            *((math.isfinite(value), f"a finite {name}") for name, value in self._floats()),
            (0 <= self.decoder_steps <= self.steps, "0 <= decoder_steps <= steps"),
            (self.precision in ("bf16", "fp32"), "precision `bf16` or `fp32`"),
            (self.framing in ("crop", "whole"), "framing `crop` or `whole`"),
            (self.objective in ("lcfm", "fm", "none"), "objective `lcfm`, `fm` or `none`"),
            (
                (self.model.num_steps == 0) == (self.objective == "none"),
                "num_steps 0 with objective `none`, and only with it",
            ),
            (
                self.unrolled_steps == 0 or self.coarse_steps > 0,
                "coarse_steps above 0 with unrolled_steps",
            ),
            (
                self.unrolled_steps == 0 or self.model.num_steps > 0,
                "num_steps above 0 with unrolled_steps",
            ),
            (self.latent_noise >= 0, "latent_noise >= 0"),
            (self.task != AUTOENCODER or self.model.space == "latent", "an autoencoder's latent"),
            (0 < self.dt < 1, "0 < dt < 1"),
            (self.alpha >= 0, "alpha >= 0"),
            (0 <= self.beta <= 1, "beta in [0, 1]"),
        ]
        for holds, expected in checks:
            if not holds:
                raise ConfigError("training configuration is invalid", expected=expected)

    def _floats(self) -> Iterator[tuple[str, float]]:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, float):
                yield field.name, value

    def _learns(self) -> bool:
        """Tell whether there is something to learn in the phases that train no flow."""
        alone = self.coarse_steps > 0 or self.objective == "none"
        coarse = self.trainable_coarse and self.model.coarse_blocks > 0
        encoder = self.trainable_encoder and self.model.space == "latent"
        return not alone or coarse or encoder

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain JSON values."""
        values = dataclasses.asdict(self)
        return {**values, "betas": list(self.betas), "model": self.model.to_dict()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "TrainConfig":
        """Rebuild a configuration from `to_dict`'s values.

        Raises:
            ConfigError: unknown or missing keys.
        """
        try:
            model = ModelConfig.from_dict(values["model"])
            return cls(**{**values, "betas": tuple(values["betas"]), "model": model})
        except (TypeError, KeyError) as error:
            raise ConfigError(f"malformed training configuration ({error})") from error
