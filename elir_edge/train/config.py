"""The configuration of a training run, without its data."""

import dataclasses
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from elir_edge.errors import ConfigError
from elir_edge.model.config import ModelConfig
from elir_edge.tasks import AUTOENCODER
from elir_edge.train.grid_error import RESTORED_WINDOW

_GRID_WINDOW = 16
"""Crop sizes are multiples of the window that `grid_error` uses."""
MAX_TEACHER_CROPS = 1_000_000
MAX_SEED = (1 << 31) - 1
MAX_BATCH_PIXELS = 1 << 28
"""1,024 crops of 512 x 512: one copy of the images alone takes 3 GiB."""
MAX_CROP = 2048
"""A step on larger crops needs more memory than any single device has."""


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
        schedule: `constant` after the warm-up, or `cosine` decay to zero at `steps`.
        warmup_steps: steps of the linear warm-up.
        weight_decay: AdamW's weight decay.
        betas: AdamW's betas.
        adam_eps: AdamW's epsilon.
        ema_decay: decay of the exponential moving average (EMA) whose weights are saved.
        ema_warmup: n in the EMA's decay `ema_decay * (1 - exp(-step / n))`, which forgets the
            weights of the first steps quickly (the published code: 2,000); 0: constant decay.
        clip_norm: gradients are scaled down to at most this norm; None: no clipping.
        initialization: `he`: see `initialize`; `torch`: torch's defaults (as in the published
            code).
        framing: `crop`: random crops; `whole`: the central square of the photo, resized to
            `crop_size` (for aligned faces).
        min_scale: smallest factor by which a photo is scaled before a crop is taken; 1: no scaling.
        degradation: name of the degradation; None: the task's default.
        objective: `lcfm` (the paper's), `fm` (plain latent flow matching, Table 5), or `none` (the
            coarse estimator alone, Table 7; then K must be 0).
        loss: variant of LCFM, `paper` (the paper's text) or `published` (the published code); see
            `flow.losses` for the differences.
        coarse_steps: the first `coarse_steps` steps minimise L_2 alone, the later ones the flow's
            terms alone, each phase with its own schedule; 0: both together. The two parts share no
            parameters (Eq. 5), and a step of L_2 alone costs a third of a joint step.
        refine_steps: the last `refine_steps` of the `coarse_steps` minimise the mean squared error
            of the decoded coarse image instead of L_2, with their own schedule: L_2 weights all
            parts of a latent equally, the decoder does not.
        unrolled_steps: the last `unrolled_steps` steps minimise the mean squared error of the
            restored image through all K Euler steps, with their own schedule: the flow's terms only
            see points on straight paths to the truth, not the points that Euler steps reach.
        end_to_end: in the unrolled steps, encoder and coarse estimator are trained too, and L_2
            is added to the loss with a small weight. Their latent can then carry information that
            only the flow uses.
        psnr_loss: in the unrolled steps, minimise the mean over images of log10 of the mean squared
            error (-PSNR in bels) instead of the mean squared error, which is dominated by highly
            textured photos that no model can restore.
        lpips: weight of the perceptual loss (LPIPS-squeeze, whose weights are given by path), added
            to the error of a distilled decoder's image or of a task's restored image; 0: none.
        grid: weight of the grid error (`grid_error`) of a distilled decoder's image, or of a task's
            restored image in the unrolled steps; 0: none.
        teacher_crops: number of fixed crops that the run draws from; the teacher's outputs for them
            are computed once and kept on disk. 0: random crops, and the teacher runs in every step.
        decoder_steps: for a distillation: the first `decoder_steps` steps train the decoder, the
            later ones the encoder, each phase with its own schedule.
        trainable_encoder: False freezes the encoder as the autoencoder (Table 8) or the checkpoint
            that the run starts from has it.
        trainable_coarse: False freezes the coarse estimator of the checkpoint that the run starts
            from.
        dt: LCFM's time interval (Eq. 3).
        alpha: LCFM's velocity weight (Eq. 3).
        beta: weight of the image's mean squared error (Eq. 4).
        sigma_min: weight of the source at the path's end (section 4.1).
        latent_noise: standard deviation of the noise added to latents while an autoencoder trains.
            It makes the decoder robust to small errors and fixes the latent's scale.
        rounded: round the input of every convolution to 8 bits, as the sensor does (see
            `rounding`).
        precision: `bf16` runs the networks under autocast; weights and losses stay float32.
        seed: seed of weights, crops, degradations, times and noise.

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
            (
                self.task == AUTOENCODER or self.grid == 0 or self._has_whole_windows(),
                f"crop_size in multiples of {RESTORED_WINDOW} and unrolled_steps with grid",
            ),
            (0 <= self.seed <= MAX_SEED, f"seed from 0 to {MAX_SEED}"),
            (
                self.task == AUTOENCODER or self.decoder_steps == 0,
                "decoder_steps 0 for a task: they only apply to a distillation",
            ),
            (
                self.task != AUTOENCODER or self.coarse_steps == 0,
                "coarse_steps 0 for an autoencoder: they only apply to a task",
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

    def _has_whole_windows(self) -> bool:
        return self.crop_size % RESTORED_WINDOW == 0 and self.unrolled_steps > 0

    def _learns(self) -> bool:
        """Tell whether some part is trainable in the phases that do not train the flow."""
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
