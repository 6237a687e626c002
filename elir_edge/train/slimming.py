"""A checkpoint distilled into a faster one: a slim encoder, fewer Euler steps, or both.

The slim encoder learns what the checkpoint's own encoder, and the coarse estimator behind it, make
of degraded photos. A flow of fewer steps learns where the checkpoint's K steps end when they start
from the same noise. The ground truth is never looked at: the student becomes what the teacher is,
not what another training would have made of it.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from elir_edge.checkpoints.own import (
    Checkpoint,
    build_model,
    embedded_path,
    read_checkpoint,
)
from elir_edge.data.datasets import list_images
from elir_edge.errors import UsageError
from elir_edge.metric_weights import read_lpips
from elir_edge.model import Elir, collapse
from elir_edge.model.macs import macs_of
from elir_edge.tasks import AUTOENCODER, get_task
from elir_edge.train.config import TrainConfig
from elir_edge.train.distributed import join
from elir_edge.train.loop import RunOptions, check_folder, place, train
from elir_edge.train.objectives import BatchDraws, StepImages
from elir_edge.train.run import (
    TrainedRun,
    crops_of,
    fingerprint_of,
    finish_run,
    sampler_of,
)
from elir_edge.train.validation import NoValidation, PhotoValidation, Validation

_FACE_CROP, _CROP = 256, 128
_VALIDATION_SIDE = 256
_WARMUP = 100
_ENCODER = "encoder."


@dataclass(frozen=True, kw_only=True)
class Slimming:
    """What a checkpoint is distilled into.

    Attributes:
        slim_encoder: whether the encoder becomes nano's, of 1.5 GMAC at 256.
        num_steps: K of the result; None: as it is.
        encoder_steps: optimizer steps for the encoder.
        flow_steps: optimizer steps for the flow of fewer Euler steps, after those.
        batch_size: crops per step.
        learning_rate: peak rate of both parts.
        seed: of crops, degradations and noise.
    """

    slim_encoder: bool = True
    num_steps: int | None = None
    encoder_steps: int = 4000
    flow_steps: int = 3000
    batch_size: int = 8
    learning_rate: float = 1e-3
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class SlimmingInputs:
    """The files and folders that a distillation reads.

    Attributes:
        checkpoint: that is distilled.
        photos: folders of photos to learn on.
        validation: folder of photos to judge on; None: nothing is judged.
        metric_weights: folder with LPIPS-squeeze's weights; None: PSNR alone.
    """

    checkpoint: Path
    photos: Sequence[Path]
    validation: Path | None = None
    metric_weights: Path | None = None


@dataclass(frozen=True, kw_only=True)
class SlimmingResult:
    """A finished or stopped distillation.

    Attributes:
        run: the checkpoint, and whether it is finished.
        macs: multiply-accumulates at `size` by part, before and after.
        scores: on the validation photos, before and after; empty without such.
        size: of the images that the multiply-accumulates are for, pixels.
    """

    run: TrainedRun
    macs: tuple[dict[str, int], dict[str, int]]
    scores: tuple[dict[str, float], dict[str, float]]
    size: int


@dataclass(frozen=True, kw_only=True)
class SlimmingObjective:
    """Errors against a teacher of the same latent space.

    Attributes:
        teacher: the checkpoint's model, frozen, on the device of the run.
        encoder_steps: the first so many steps train the encoder, those after them the flow.
        slim_encoder: whether the encoder learns.
        fewer_steps: whether the flow learns.
        sigma_s: standard deviation of the source's noise.
    """

    teacher: Elir
    encoder_steps: int
    slim_encoder: bool
    fewer_steps: bool
    sigma_s: float

    def trainable(self, model: Elir) -> Iterator[tuple[str, nn.Module]]:
        """Yield what learns of encoder and vector field."""
        if self.slim_encoder:
            yield "encoder", model.encoder
        if self.fewer_steps:
            yield "velocity", model.velocity

    def losses(
        self, model: Elir, images: StepImages, draws: BatchDraws, step: int
    ) -> dict[str, Tensor]:
        """Return the errors of the part that this step trains; the clean images play no part."""
        with torch.no_grad():
            latent = self.teacher.encoder(images.degraded).float()
            z = self.teacher.coarse(latent).float()
        if step < self.encoder_steps:
            own = model.encoder(images.degraded).float()
            terms = {"latent": F.l1_loss(own, latent), "coarse": F.l1_loss(model.coarse(own), z)}
            return {"total": terms["latent"] + terms["coarse"], **terms}
        noise = self.sigma_s * draws.normal(z)
        with torch.no_grad():
            end = self.teacher.trajectory(z + noise)[-1].float()
            start = model.initial_point(images.degraded).float() + noise
        error = F.l1_loss(model.trajectory(start)[-1].float(), end)
        return {"total": error, "end": error}


def start_student(teacher: Checkpoint, slimming: Slimming) -> tuple[TrainConfig, Elir]:
    """Return the configuration of a distillation, and the student that it starts from.

    Args:
        teacher: the checkpoint.
        slimming: what it is distilled into.

    Raises:
        UsageError: there is nothing to make smaller, or the encoder lives in another space.
    """
    config = teacher.config.collapsed()
    wanted = slimming.num_steps or config.num_steps
    slim = read_checkpoint(embedded_path(AUTOENCODER), task=AUTOENCODER)
    _check(teacher, slimming, wanted, slim)
    state = _collapsed(build_model(teacher)).state_dict()
    if slimming.slim_encoder:
        config = dataclasses.replace(config, encoder_size="slim")
        state = {k: v for k, v in state.items() if not k.startswith(_ENCODER)}
        state |= _encoder_of(slim)
    config = dataclasses.replace(config, num_steps=wanted)
    student = Elir(config)
    student.load_state_dict(state)
    encoder_steps = slimming.encoder_steps if slimming.slim_encoder else 0
    flow_steps = slimming.flow_steps if wanted < teacher.config.num_steps else 0
    faces = get_task(teacher.task).fit == "resize"
    train_config = TrainConfig(
        task=teacher.task,
        model=config,
        steps=encoder_steps + flow_steps,
        coarse_steps=encoder_steps,
        batch_size=slimming.batch_size,
        crop_size=_FACE_CROP if faces else _CROP,
        min_scale=1.0 if faces else 0.5,
        degradation=teacher.degradation,
        learning_rate=slimming.learning_rate,
        schedule="cosine",
        warmup_steps=min(_WARMUP, encoder_steps + flow_steps),
        weight_decay=0.0,
        ema_decay=0.995,
        seed=slimming.seed,
    )
    return train_config, student


def _check(teacher: Checkpoint, slimming: Slimming, num_steps: int, slim: Checkpoint) -> None:
    own = teacher.config
    if own.space != "latent" or own.num_steps == 0:
        raise UsageError(
            f"{teacher.source} has no encoder or no flow: it was made for an ablation",
            expected="a checkpoint that restores in the latent space by a flow",
        )
    if not 1 <= num_steps <= own.num_steps:
        raise UsageError(
            f"{teacher.source} takes {own.num_steps} Euler steps",
            got=f"--num-steps {num_steps}",
            expected=f"1 to {own.num_steps}",
        )
    if not slimming.slim_encoder:
        if num_steps == own.num_steps:
            raise UsageError("nothing to distil", fix="pass --num-steps 1, or a slim encoder")
        return
    other_way = "pass --encoder own --num-steps 1 to distil its flow alone"
    if _shapes(_encoder_of(slim)) == _shapes(_encoder_of(teacher)):
        raise UsageError(f"the encoder of {teacher.source} is slim as it is", fix=other_way)
    if slim.config.latent_channels != own.latent_channels:
        raise UsageError(
            "the slim encoder has other latents",
            got=f"{own.latent_channels} channels in {teacher.source}",
            expected=str(slim.config.latent_channels),
            fix=other_way,
        )


def distil(
    slimming: Slimming,
    inputs: SlimmingInputs,
    options: RunOptions,
    *,
    task: str,
    device: str = "cpu",
) -> SlimmingResult:
    """Distil a checkpoint, and judge the result against it.

    Args:
        slimming: what into.
        inputs: what to read.
        options: where and how; resumable as a training is.
        task: of the checkpoint.
        device: torch device.

    Raises:
        UsageError: see `start_student`.
        CheckpointError: the checkpoint cannot be read.
        TrainingError: see `train`.
    """
    checkpoint = read_checkpoint(inputs.checkpoint, task=task)
    config, student = start_student(checkpoint, slimming)
    check_folder(options)
    processes = join(device, in_phases=True)
    teacher = _collapsed(build_model(checkpoint))
    size = get_task(task).image_size
    macs = (macs_of(teacher, size), macs_of(student, size))
    objective = SlimmingObjective(
        teacher=place(teacher, processes.device),
        encoder_steps=config.coarse_steps,
        slim_encoder=slimming.slim_encoder,
        fewer_steps=config.model.num_steps < checkpoint.config.num_steps,
        sigma_s=config.model.sigma_s,
    )
    listed = [(folder, list_images(folder)) for folder in inputs.photos]
    paths = [path for _, found in listed for path in found]
    materials = {"teacher": checkpoint.sha256, "photos": fingerprint_of(listed)}
    validation = _validation(config, inputs, processes.device)
    before = validation.scores(teacher)
    sampler = sampler_of(config, crops_of(config, paths), processes)
    options.out.mkdir(parents=True, exist_ok=True)
    result = train(
        config, student, objective, sampler, validation, options, processes, materials=materials
    )
    run = finish_run(config, result, options, processes, num_photos=len(paths), materials=materials)
    return SlimmingResult(run=run, macs=macs, scores=(before, result.scores), size=size)


def _validation(config: TrainConfig, inputs: SlimmingInputs, device: str) -> Validation:
    if inputs.validation is None:
        return NoValidation()
    folder = inputs.metric_weights
    return PhotoValidation(
        config.task,
        inputs.validation,
        device,
        size=_VALIDATION_SIDE,
        degradation=config.degradation,
        perceptual=None if folder is None else read_lpips(folder, device),
    )


def _collapsed(model: Elir) -> Elir:
    collapsed = collapse(model)
    assert isinstance(collapsed, Elir)
    return collapsed.eval().requires_grad_(False)


def _encoder_of(checkpoint: Checkpoint) -> dict[str, Tensor]:
    return {k: v for k, v in checkpoint.state.items() if k.startswith(_ENCODER)}


def _shapes(state: dict[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in state.items()}
