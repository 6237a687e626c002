"""A complete training run: from a configuration and folders of photos to a checkpoint file."""

import copy
import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from elir_edge.checkpoints.own import (
    Checkpoint,
    build_autoencoder,
    embedded_path,
    read_autoencoder,
    read_checkpoint,
    save_checkpoint,
)
from elir_edge.console import warn
from elir_edge.data.datasets import Crops, CropSampler, CropSource, PhotoCache, list_images
from elir_edge.data.degradations import degradation_name
from elir_edge.data.loading import Sampler
from elir_edge.errors import CheckpointError, UsageError
from elir_edge.files import sha256_of
from elir_edge.metric_weights import LPIPS_FILE, find_weights, read_lpips
from elir_edge.model import Elir, ModelConfig, collapse, initialize
from elir_edge.model.lpips import LpipsSqueeze
from elir_edge.tasks import AUTOENCODER
from elir_edge.train.config import TrainConfig
from elir_edge.train.distill import DistillationObjective, start_from_teacher
from elir_edge.train.distributed import Processes, join
from elir_edge.train.loop import RunOptions, RunResult, check_folder, place, train
from elir_edge.train.objectives import (
    AutoencoderObjective,
    Objective,
    RestorationObjective,
    lcfm_settings,
)
from elir_edge.train.rounding import round_inputs_of_convolutions
from elir_edge.train.teacher import Teacher, load_teacher, teacher_crops
from elir_edge.train.validation import (
    DistillationValidation,
    NoValidation,
    PhotoValidation,
    Validation,
)

CHECKPOINT_NAME = "checkpoint.safetensors"
_CACHE_BYTES = 8 << 30
"""Size limit of the decoded photos that a run keeps in memory."""


@dataclass(frozen=True, kw_only=True)
class WarmStart:
    """A checkpoint whose weights a run starts from.

    Attributes:
        path: path of the checkpoint, of the same or another task. It holds the collapsed form, so
            the parts that are loaded must be plain in the configuration (`expansion` 0).
        new_flow: load encoder and coarse estimator only; the vector field starts anew.
    """

    path: Path
    new_flow: bool = False


@dataclass(frozen=True, kw_only=True)
class RunInputs:
    """The files and folders that a run reads.

    Attributes:
        photos: folders of training photos.
        validation: folder of photos for the validation scores; None: no scores.
        autoencoder: checkpoint that a task's encoder and decoder start from; None: the shipped one.
        teacher: checkpoint of an autoencoder whose encoder gives a task's target latents, or from
            which an autoencoder is distilled; None: a task uses its own autoencoder.
        teacher_cache: folder for the teacher's outputs; None: the user's cache folder.
        metric_weights: folder with LPIPS-squeeze's weights; None: no LPIPS in loss and scores.
        start: checkpoint whose weights the run starts from. A task's target encoder is still the
            teacher's (or the autoencoder's), and its decoder the autoencoder's.
    """

    photos: Sequence[Path]
    validation: Path | None = None
    autoencoder: Path | None = None
    teacher: Path | None = None
    teacher_cache: Path | None = None
    metric_weights: Path | None = None
    start: WarmStart | None = None


@dataclass(frozen=True, kw_only=True)
class TrainedRun:
    """The files and the state that a run left.

    Attributes:
        path: path of the checkpoint with the averaged weights (collapsed form, fp16).
        step: number of optimizer steps done.
        finished: whether the run did all its steps.
        signal: number of the signal that ended the run; None: no signal did.
    """

    path: Path
    step: int
    finished: bool
    signal: int | None


def run_training(
    config: TrainConfig, inputs: RunInputs, options: RunOptions, *, device: str = "cpu"
) -> TrainedRun:
    """Train, and write `checkpoint.safetensors` when the run ends, even if it is stopped early.

    Args:
        config: the configuration of the run.
        inputs: the files and folders to read.
        options: how the run is carried out, and its folder.
        device: torch device; of several processes, each gets one of the same type.

    Raises:
        UsageError: the inputs do not fit the configuration, or the batch size is not a multiple of
            the number of processes.
        CheckpointError: a checkpoint is damaged or has another architecture.
        TrainingError: see `train`.
    """
    # Report mistakes before the work starts.
    _check_inputs(config, inputs)
    check_folder(options)
    # DDP must be told if some steps leave parameters without a gradient.
    processes = join(device, in_phases=config.coarse_steps > 0 or config.decoder_steps > 0)
    materials: dict[str, str] = {}
    model = _new_model(config)
    teacher = perceptual = None
    if inputs.teacher is not None:
        teacher = load_teacher(inputs.teacher, processes.device)
        materials["teacher"] = teacher.sha256
    if inputs.metric_weights is not None:
        perceptual = read_lpips(inputs.metric_weights, processes.device)
        materials["LPIPS"] = sha256_of(find_weights(inputs.metric_weights, LPIPS_FILE))
    objective = _objective(config, inputs, model, teacher, perceptual, processes.device)
    if config.task == AUTOENCODER and teacher is not None:
        start_from_teacher(model, teacher.model)
    if inputs.start is not None:
        materials["start"] = _start_from(model, inputs.start, config)
    if config.rounded:
        round_inputs_of_convolutions(model)
    listed = [(folder, list_images(folder)) for folder in inputs.photos]
    materials["photos"] = fingerprint_of(listed)
    if config.task != AUTOENCODER and config.model.space == "latent":
        materials["autoencoder"] = sha256_of(
            inputs.autoencoder or embedded_path(AUTOENCODER, config.model.variant)
        )
    paths = [path for _, found in listed for path in found]
    validation = _validation(config, inputs, teacher, perceptual, processes.device)
    options.out.mkdir(parents=True, exist_ok=True)
    result = train(
        config,
        model,
        objective,
        _sampler(config, inputs, paths, teacher, processes),
        validation,
        options,
        processes,
        materials=materials,
    )
    return finish_run(
        config, result, options, processes, num_photos=len(paths), materials=materials
    )


def finish_run(
    config: TrainConfig,
    result: RunResult,
    options: RunOptions,
    processes: Processes,
    *,
    num_photos: int,
    materials: dict[str, str],
) -> TrainedRun:
    """Write the checkpoint of a run that ended, in the main process, and wait for it.

    Args:
        config: of the run.
        result: what it reached.
        options: of the run; the checkpoint goes into its folder.
        processes: that trained together.
        num_photos: that it learned from.
        materials: hashes of what else decided the result.
    """
    path = options.out / CHECKPOINT_NAME
    if processes.is_main:
        _save(path, config, result, num_photos=num_photos, materials=materials)
    processes.wait()
    return TrainedRun(
        path=path,
        step=result.step,
        finished=result.step == config.steps,
        signal=result.signal,
    )


def is_trained(path: Path, task: str, config: TrainConfig) -> bool:
    """Tell whether a checkpoint exists and has all steps; a stopped run writes one too.

    Raises:
        CheckpointError: see `read_checkpoint`.
    """
    return path.exists() and read_checkpoint(path, task=task).training["steps"] == config.steps


def _check_inputs(config: TrainConfig, inputs: RunInputs) -> None:
    if config.task == AUTOENCODER and inputs.autoencoder is not None:
        raise UsageError("--autoencoder is for the tasks; the autoencoder itself starts anew")
    if config.model.space == "pixel" and (inputs.autoencoder or inputs.teacher):
        raise UsageError(
            "--autoencoder and --teacher do not go with --space pixel, which has no autoencoder"
        )
    if config.lpips and inputs.metric_weights is None:
        raise UsageError(
            f"this run has a perceptual error (lpips {config.lpips:g}), which needs weights",
            fix=f"pass the folder of {LPIPS_FILE} by --metric-weights, or --lpips 0",
        )
    if config.teacher_crops and inputs.teacher is None:
        raise UsageError("--teacher-crops goes with --teacher", fix="pass both, or neither")
    if config.task == AUTOENCODER and inputs.teacher is None and (config.lpips or config.grid):
        raise UsageError(
            "an autoencoder without a teacher learns the mean absolute error alone",
            fix="pass --teacher, or --lpips 0 --grid 0",
        )
    if config.task == AUTOENCODER and inputs.teacher and not config.teacher_crops:
        raise UsageError("a distillation learns from kept crops", fix="pass --teacher-crops")


def _new_model(config: TrainConfig) -> Elir:
    if config.initialization == "torch":
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(config.seed)
            return Elir(config.model)
    model = Elir(config.model)
    initialize(model, torch.Generator().manual_seed(config.seed))
    return model


def fingerprint_of(listed: Sequence[tuple[Path, Sequence[Path]]]) -> str:
    """Return a hash of the photos' names; a resumed run must have the same photos.

    Only names are hashed: asking for the sizes of millions of files would take minutes on a network
    disk.
    """
    # Names are bytes: a file system may hold names that are not valid text.
    names = [
        os.fsencode(path)[len(os.fsencode(folder)) :] for folder, paths in listed for path in paths
    ]
    return hashlib.sha256(b"\n".join(names)).hexdigest()


def _content_key(paths: Sequence[Path]) -> str:
    """Return a hash of the photos' names and sizes, the cache key of the teacher's outputs."""
    entries = [os.fsencode(path.name) + b" %d" % path.stat().st_size for path in paths]
    return hashlib.sha256(b"\n".join(entries)).hexdigest()


def _sampler(
    config: TrainConfig,
    inputs: RunInputs,
    paths: Sequence[Path],
    teacher: Teacher | None,
    processes: Processes,
) -> Sampler:
    return sampler_of(config, _source(config, inputs, paths, teacher, processes), processes)


def sampler_of(config: TrainConfig, source: CropSource, processes: Processes) -> Sampler:
    """Return what draws this process's share of each step's batch from a source of crops."""
    return CropSampler(
        source,
        task=None if config.task == AUTOENCODER else config.task,
        degradation=config.degradation,
        batch_size=config.batch_size,
        seed=config.seed,
        share=processes.share,
    )


def _source(
    config: TrainConfig,
    inputs: RunInputs,
    paths: Sequence[Path],
    teacher: Teacher | None,
    processes: Processes,
) -> CropSource:
    """Return a source of random crops, or of a fixed number of crops with the teacher's outputs."""
    crops = crops_of(config, paths)
    if teacher is None or not config.teacher_crops:
        return crops
    with processes.main_first():
        return teacher_crops(
            teacher,
            crops,
            config.teacher_crops,
            seed=config.seed,
            photos=_content_key(paths),
            decoded=config.task == AUTOENCODER,
            folder=inputs.teacher_cache,
        )


def crops_of(config: TrainConfig, paths: Sequence[Path]) -> Crops:
    """Return any crops of photos, as a run cuts them."""
    return Crops(
        photos=PhotoCache(paths, _CACHE_BYTES),
        size=config.crop_size,
        framing=config.framing,
        min_scale=config.min_scale,
    )


def _validation(
    config: TrainConfig,
    inputs: RunInputs,
    teacher: Teacher | None,
    perceptual: LpipsSqueeze | None,
    device: str,
) -> Validation:
    if inputs.validation is None:
        return NoValidation()
    if config.task == AUTOENCODER and teacher is not None:
        return DistillationValidation(teacher, inputs.validation, device, perceptual=perceptual)
    return PhotoValidation(
        config.task,
        inputs.validation,
        device,
        # With `whole` framing, validate on the whole image at the training size.
        size=config.crop_size if config.framing == "whole" else _VALIDATION_SIDE,
        degradation=config.degradation,
        perceptual=perceptual,
    )


_VALIDATION_SIDE = 256


def _objective(
    config: TrainConfig,
    inputs: RunInputs,
    model: Elir,
    teacher: Teacher | None,
    perceptual: LpipsSqueeze | None,
    device: str,
) -> Objective:
    if teacher is not None:
        _check_latent(teacher, config)
    if config.task == AUTOENCODER and teacher is not None:
        return DistillationObjective(
            decoder_steps=config.decoder_steps,
            perceptual=perceptual,
            lpips=config.lpips,
            grid=config.grid,
            latent_noise=config.latent_noise,
        )
    if config.task == AUTOENCODER:
        return AutoencoderObjective(latent_noise=config.latent_noise)
    if config.model.space == "latent":
        start = read_autoencoder(inputs.autoencoder, config.model)
        if teacher is not None and teacher.sha256 not in start.origins:
            warn(
                f"the autoencoder was not distilled from {teacher.path.name}: its decoder may not "
                "fit the teacher's latents; fix: pass one that was, by --autoencoder"
            )
        model.encoder.load_state_dict(start.encoder)
        model.decoder.load_state_dict(start.decoder)
    target = copy.deepcopy(model.encoder) if teacher is None else teacher.model.encoder
    return RestorationObjective(
        target_encoder=place(target.requires_grad_(False), device),
        settings=lcfm_settings(config),
        sigma_s=config.model.sigma_s,
        flow=config.objective,
        trainable_encoder=config.trainable_encoder,
        trainable_coarse=config.trainable_coarse,
        coarse_steps=config.coarse_steps,
        refine_steps=config.refine_steps,
        unrolled_from=config.steps - config.unrolled_steps if config.unrolled_steps else None,
        end_to_end=config.end_to_end,
        psnr_loss=config.psnr_loss,
        perceptual=perceptual,
        grid=config.grid,
    )


def _check_latent(teacher: Teacher, config: TrainConfig) -> None:
    theirs, ours = teacher.model.config.latent_channels, config.model.latent_channels
    if theirs != ours:
        raise CheckpointError(
            f"{teacher.path} has latents of another size",
            got=f"{theirs} channels",
            expected=f"{ours}",
            fix="pass a --teacher that fits the preset",
        )


def _start_from(model: Elir, start: WarmStart, config: TrainConfig) -> str:
    """Load a checkpoint's trained parts (without the field if `new_flow`); return its hash."""
    checkpoint = read_checkpoint(start.path, task=config.task, any_task=True)
    parts: tuple[str, ...] = ("encoder.", "coarse.", "velocity.")
    if config.task == AUTOENCODER:
        parts = ("encoder.", "decoder.")
    elif start.new_flow:
        parts = ("encoder.", "coarse.")
    wanted = {k: v for k, v in model.state_dict().items() if k.startswith(parts)}
    if config.task == AUTOENCODER and checkpoint.config.collapsed() != config.model.collapsed():
        _, other = build_autoencoder(start.path)
        if start_from_teacher(model, other):
            return checkpoint.sha256 + " next to the latent"
    found = {k: v for k, v in checkpoint.state.items() if k.startswith(parts)}
    if {k: v.shape for k, v in wanted.items()} != {k: v.shape for k, v in found.items()}:
        raise CheckpointError(
            f"{start.path} does not have the architecture that is to be trained",
            got=_differences(checkpoint.config, config.model),
            expected="the same in all of these",
            fix="pass the --preset it was trained with",
        )
    model.load_state_dict(found, strict=False)
    return checkpoint.sha256 + (" without its flow" if start.new_flow else "")


def _differences(found: ModelConfig, wanted: ModelConfig) -> str:
    """Return a phrase that lists the fields in which two architectures differ."""
    theirs, ours = found.to_dict(), wanted.to_dict()
    return ", ".join(
        f"{name} {theirs[name]} for {ours[name]}" for name in ours if theirs[name] != ours[name]
    )


def _save(
    path: Path,
    config: TrainConfig,
    result: RunResult,
    *,
    num_photos: int,
    materials: dict[str, str],
) -> None:
    """Write the checkpoint with a record of its training: configuration, inputs' hashes, scores."""
    training: dict[str, Any] = {
        "config": config.to_dict(),
        "steps": result.step,
        "num_photos": num_photos,
        **materials,
        "scores": {name: round(value, 3) for name, value in result.scores.items()},
        "torch": torch.__version__,
    }
    if config.task != AUTOENCODER:
        training["degradation"] = degradation_name(config.task, config.degradation)
    model = collapse(result.model.cpu().float())
    state = model.state_dict()
    if config.task == AUTOENCODER:
        state = {k: v for k, v in state.items() if k.startswith(("encoder.", "decoder."))}
    checkpoint = Checkpoint(
        task=config.task,
        config=config.model.collapsed(),
        state=state,
        training=json.loads(json.dumps(training)),
    )
    save_checkpoint(path, checkpoint, dtype=torch.float16)
