"""From a configuration and folders of photos to a checkpoint file."""

import copy
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from elir_edge.checkpoint import (
    Checkpoint,
    embedded_path,
    read_autoencoder,
    read_checkpoint,
    save_checkpoint,
)
from elir_edge.data.datasets import CropSampler, PhotoCache, list_images
from elir_edge.errors import CheckpointError, UsageError
from elir_edge.files import sha256_of
from elir_edge.model import Elir, collapse, initialize
from elir_edge.tasks import AUTOENCODER
from elir_edge.train.config import TrainConfig
from elir_edge.train.distributed import join
from elir_edge.train.loop import RunOptions, RunResult, place, train
from elir_edge.train.objectives import (
    AutoencoderObjective,
    Objective,
    RestorationObjective,
    lcfm_settings,
)
from elir_edge.train.rounding import round_inputs_of_convolutions
from elir_edge.train.validation import NoValidation, PhotoValidation, Validation

CHECKPOINT_NAME = "checkpoint.safetensors"
_CACHE_BYTES = 8 << 30


@dataclass(frozen=True, kw_only=True)
class Start:
    """A checkpoint to go on from.

    Attributes:
        path: of the checkpoint; it holds the collapsed form, so the configuration must be plain
            (`expansion` 0) in what is taken over.
        new_flow: take over encoder and coarse estimator only.
    """

    path: Path
    new_flow: bool = False


def run_training(
    config: TrainConfig,
    data: Path,
    options: RunOptions,
    *,
    device: str = "cpu",
    validation_data: Path | None = None,
    autoencoder_path: Path | None = None,
    start: Start | None = None,
) -> Path | None:
    """Train; write `checkpoint.safetensors` (averaged, collapsed, fp16) when all steps are done.

    Args:
        config: what to train.
        data: folder of photos to crop from.
        options: where and how.
        device: torch device; with several processes, of each one's own kind.
        validation_data: folder of photos for the scores printed along the way; None: no scores.
        autoencoder_path: autoencoder checkpoint that a task's encoder and decoder start from; None:
            the embedded one.
        start: checkpoint of the task that the run goes on from; the target stays the autoencoder's
            encoder, and the decoder is the autoencoder's.

    Returns:
        The checkpoint's path, or None where the time given ran out first.

    Raises:
        UsageError: an autoencoder was given for the training of one, or the batch cannot be shared
            by the processes.
        TrainingError: see `train`.
    """
    processes = join(device, in_phases=config.coarse_steps > 0)
    generator = torch.Generator().manual_seed(config.seed)
    model = Elir(config.model)
    initialize(model, generator)
    objective = _objective(config, model, autoencoder_path, processes.device)
    materials: dict[str, str] = {}
    if start is not None:
        materials["start"] = _start_from(model, start, config)
    if config.rounded:
        round_inputs_of_convolutions(model)
    paths = list_images(data)
    photos = PhotoCache(paths, _CACHE_BYTES)
    task = None if config.task == AUTOENCODER else config.task
    sampler = CropSampler(
        photos,
        task=task,
        size=config.crop_size,
        batch_size=config.batch_size,
        seed=config.seed,
        framing=config.framing,
        share=processes.share,
    )
    validation: Validation = NoValidation()
    if validation_data is not None:
        validation = PhotoValidation(config.task, validation_data, processes.device)
    materials["photos"] = _fingerprint(paths, data)
    if task is not None and config.model.space == "latent":
        materials["autoencoder"] = sha256_of(
            autoencoder_path or embedded_path(AUTOENCODER, config.model.variant)
        )
    result = train(
        config, model, objective, sampler, validation, options, processes, materials=materials
    )
    if result.step < config.steps:
        return None
    path = options.out / CHECKPOINT_NAME
    if processes.is_main:
        _save(path, config, result, num_photos=len(photos), start=materials.get("start"))
    processes.wait()
    return path


def _fingerprint(paths: list[Path], folder: Path) -> str:
    """Return a hash of the photos' names: a resumed run must see the same ones.

    Names only: to ask for the sizes of millions of files would take minutes on a network disk.
    """
    # As bytes: a file system may hold some that are no text.
    start = len(os.fsencode(folder))
    listing = [os.fsencode(path)[start:] for path in paths]
    return hashlib.sha256(b"\n".join(listing)).hexdigest()


def _objective(
    config: TrainConfig, model: Elir, autoencoder_path: Path | None, device: str
) -> Objective:
    if config.task == AUTOENCODER:
        if autoencoder_path is not None:
            raise UsageError("--autoencoder is for the tasks; the autoencoder itself starts anew")
        return AutoencoderObjective(latent_noise=config.latent_noise)
    if config.model.space == "pixel":
        if autoencoder_path is not None:
            raise UsageError("--autoencoder does not go with --space pixel, which has none")
        return _restoration(config, model, device)
    start = read_autoencoder(autoencoder_path, config.model)
    model.encoder.load_state_dict(start.encoder)
    model.decoder.load_state_dict(start.decoder)
    return _restoration(config, model, device)


def _restoration(config: TrainConfig, model: Elir, device: str) -> RestorationObjective:
    target = copy.deepcopy(model.encoder).requires_grad_(False)
    return RestorationObjective(
        target_encoder=place(target, device),
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
    )


def _start_from(model: Elir, start: Start, config: TrainConfig) -> str:
    """Load a checkpoint's encoder, coarse estimator and (unless new) field; return its hash."""
    checkpoint = read_checkpoint(start.path, task=config.task)
    parts = ("encoder.", "coarse.") if start.new_flow else ("encoder.", "coarse.", "velocity.")
    wanted = {k: v for k, v in model.state_dict().items() if k.startswith(parts)}
    found = {k: v for k, v in checkpoint.state.items() if k.startswith(parts)}
    if {k: v.shape for k, v in wanted.items()} != {k: v.shape for k, v in found.items()}:
        raise CheckpointError(
            f"{start.path} does not have the architecture that is to be trained",
            got=str(checkpoint.config),
            expected=str(config.model),
            fix="pass the --preset it was trained with",
        )
    model.load_state_dict(found, strict=False)
    return checkpoint.sha256 + (" without its flow" if start.new_flow else "")


def _save(
    path: Path, config: TrainConfig, result: RunResult, *, num_photos: int, start: str | None
) -> None:
    training: dict[str, Any] = {
        "config": config.to_dict(),
        "steps": result.step,
        "num_photos": num_photos,
        **({"start": start} if start else {}),
        "scores": {name: round(value, 3) for name, value in result.scores.items()},
        "torch": torch.__version__,
    }
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
