"""From a configuration and folders of photos to a checkpoint file."""

import copy
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from elir_edge.checkpoint import Checkpoint, embedded_path, read_autoencoder, save_checkpoint
from elir_edge.data.datasets import (
    CropSampler,
    PhotoCache,
    centre_crop,
    list_images,
    read_rgb,
    to_float,
)
from elir_edge.data.degradations import FloatImage, degrade
from elir_edge.errors import UsageError
from elir_edge.files import sha256_of
from elir_edge.metrics import psnr
from elir_edge.model import Elir, collapse, draw_noise, initialize
from elir_edge.tasks import AUTOENCODER
from elir_edge.train.config import TrainConfig
from elir_edge.train.loop import RunOptions, RunResult, Validation, place, train
from elir_edge.train.objectives import (
    AutoencoderObjective,
    Objective,
    RestorationObjective,
    lcfm_settings,
)

CHECKPOINT_NAME = "checkpoint.safetensors"
_CACHE_BYTES = 8 << 30
_VALIDATION_SIZE = 256
_VALIDATION_PHOTOS = 20


def run_training(
    config: TrainConfig,
    data: Path,
    options: RunOptions,
    *,
    validation_data: Path | None = None,
    autoencoder_path: Path | None = None,
) -> Path | None:
    """Train; write `checkpoint.safetensors` (averaged, collapsed, fp16) when all steps are done.

    Args:
        config: what to train.
        data: folder of photos to crop from.
        options: where and how.
        validation_data: folder of photos for the scores printed along the way; None: no scores.
        autoencoder_path: autoencoder checkpoint that a task's encoder and decoder start from; None:
            the embedded one.

    Returns:
        The checkpoint's path, or None where the time given ran out first.

    Raises:
        UsageError: an autoencoder was given for the training of one.
        TrainingError: see `train`.
    """
    generator = torch.Generator().manual_seed(config.seed)
    model = Elir(config.model)
    initialize(model, generator)
    objective = _objective(config, model, autoencoder_path, options.device)
    paths = list_images(data)
    photos = PhotoCache(paths, _CACHE_BYTES)
    task = None if config.task == AUTOENCODER else config.task
    sampler = CropSampler(
        photos, task=task, size=config.crop_size, batch_size=config.batch_size, seed=config.seed
    )
    validate = _validation(config.task, validation_data, options.device)
    materials = {"photos": _fingerprint(paths, data)}
    if task is not None:
        start = autoencoder_path or embedded_path(AUTOENCODER, config.model.variant)
        materials["autoencoder"] = sha256_of(start)
    result = train(config, model, objective, sampler, validate, options, materials=materials)
    if result.step < config.steps:
        return None
    path = options.out / CHECKPOINT_NAME
    _save(path, config, result, num_photos=len(photos))
    return path


def _fingerprint(paths: list[Path], folder: Path) -> str:
    """Return a hash of the photos' names and sizes: a resumed run must see the same ones."""
    # Names as bytes: a file system may hold some that are no text.
    listing = [os.fsencode(p.relative_to(folder)) + b" %d" % p.stat().st_size for p in paths]
    return hashlib.sha256(b"\n".join(listing)).hexdigest()


def _objective(
    config: TrainConfig, model: Elir, autoencoder_path: Path | None, device: str
) -> Objective:
    if config.task == AUTOENCODER:
        if autoencoder_path is not None:
            raise UsageError("--autoencoder is for the tasks; the autoencoder itself starts anew")
        return AutoencoderObjective(latent_noise=config.latent_noise)
    start = read_autoencoder(autoencoder_path, config.model)
    model.encoder.load_state_dict(start.encoder)
    model.decoder.load_state_dict(start.decoder)
    target = copy.deepcopy(model.encoder).requires_grad_(False)
    return RestorationObjective(
        target_encoder=place(target, device),
        settings=lcfm_settings(config),
        sigma_s=config.model.sigma_s,
    )


def _validation(task: str, folder: Path | None, device: str) -> Validation:
    if folder is None:
        return lambda model: {}
    paths = list_images(folder)
    chosen = paths[:: max(1, len(paths) // _VALIDATION_PHOTOS)]
    clean = [to_float(centre_crop(read_rgb(path), _VALIDATION_SIZE)) for path in chosen]
    if task == AUTOENCODER:
        return lambda model: {
            "through_autoencoder": _mean_psnr(model, clean, clean, device, "code")
        }
    degraded = [degrade(task, x, np.random.default_rng([1, i])) for i, x in enumerate(clean)]
    return lambda model: {
        name: _mean_psnr(model, clean, degraded, device, name) for name in ("coarse", "full")
    }


@torch.no_grad()
def _mean_psnr(
    model: Elir, clean: list[FloatImage], inputs: list[FloatImage], device: str, kind: str
) -> float:
    noise = draw_noise(model.config, _VALIDATION_SIZE, _VALIDATION_SIZE).to(device)
    scores = []
    for reference, image in zip(clean, inputs, strict=True):
        x = torch.from_numpy(image).permute(2, 0, 1)[None].to(device)
        restored = _restore(model, x, noise, kind).clamp(0, 1)[0].permute(1, 2, 0)
        scores.append(psnr(reference, restored.cpu().numpy()))
    return float(np.mean(scores))


def _restore(model: Elir, x: Tensor, noise: Tensor, kind: str) -> Tensor:
    if kind == "full":
        restored: Tensor = model(x, noise)
    else:
        latent = model.encoder(x) if kind == "code" else model.initial_point(x)
        restored = model.decoder(latent)
    return restored


def _save(path: Path, config: TrainConfig, result: RunResult, *, num_photos: int) -> None:
    training: dict[str, Any] = {
        "config": config.to_dict(),
        "steps": result.step,
        "num_photos": num_photos,
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
