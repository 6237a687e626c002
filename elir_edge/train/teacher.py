"""A frozen teacher autoencoder, and its outputs for a fixed set of crops, kept on disk.

The teacher is many times larger than its students. Its latents and images are therefore computed
once per crop, and a training step does not run the teacher.
"""

import functools
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from elir_edge.checkpoints.own import build_autoencoder
from elir_edge.console import console, counting_progress
from elir_edge.data.datasets import Crops, View, stack, to_float
from elir_edge.data.operations import to_uint8
from elir_edge.errors import DataError
from elir_edge.files import cache_folder, replacing_file
from elir_edge.model import Elir

_FORMAT = 1
_SHARD = 64
"""Crops per file; an interrupted run loses at most the work on this many crops."""
_WANTED = {"clean": torch.uint8, "latent": torch.bfloat16, "decoded": torch.uint8}
_BATCH = 8


@dataclass(frozen=True, kw_only=True)
class TeacherCrops:
    """Crops with the teacher's outputs, in memory.

    Attributes:
        clean: the crops, uint8 (N, size, size, 3).
        latent: the teacher's latents of the crops, bfloat16 (N, C, size / 8, size / 8).
        decoded: the teacher's images of the latents, uint8 (N, size, size, 3); None: not needed.
    """

    clean: NDArray[np.uint8]
    latent: Tensor
    decoded: NDArray[np.uint8] | None

    def __len__(self) -> int:
        """Return N, the number of crops."""
        return len(self.clean)

    def view(self, rng: np.random.Generator) -> View:
        """Return a random crop with the teacher's outputs."""
        index = int(rng.integers(len(self)))
        return View(
            clean=to_float(self.clean[index]),
            latent=self.latent[index].float().numpy(),
            decoded=None if self.decoded is None else to_float(self.decoded[index]),
        )


@dataclass(frozen=True, kw_only=True)
class Teacher:
    """A frozen autoencoder to learn from.

    Attributes:
        path: path of its checkpoint.
        sha256: SHA-256 of that file.
        model: the networks.
        device: torch device of the networks.
    """

    path: Path
    sha256: str
    model: Elir
    device: str

    @torch.no_grad()
    def encode(self, crops: NDArray[np.uint8]) -> Tensor:
        """Encode crops, uint8 (N, H, W, 3), to latents, bfloat16 (N, C, h, w)."""
        images = torch.from_numpy(stack([to_float(crop) for crop in crops])).to(self.device)
        latent: Tensor = self.model.encoder(images)
        return latent.to(torch.bfloat16).cpu()

    @torch.no_grad()
    def decode(self, latent: Tensor) -> NDArray[np.uint8]:
        """Decode latents (N, C, h, w) to images, uint8 (N, H, W, 3)."""
        images = self.model.decoder(latent.float().to(self.device)).clamp(0, 1)
        return to_uint8(images.permute(0, 2, 3, 1).cpu().numpy())


def load_teacher(path: Path, device: str) -> Teacher:
    """Load an autoencoder's checkpoint, which may be TAESD3's diffusers file.

    Raises:
        CheckpointError: see `read_checkpoint`.
    """
    checkpoint, model = build_autoencoder(path)
    return Teacher(path=path, sha256=checkpoint.sha256, model=model.to(device), device=device)


def teacher_crops(
    teacher: Teacher,
    crops: Crops,
    count: int,
    *,
    seed: int,
    photos: str,
    decoded: bool,
    folder: Path | None = None,
) -> TeacherCrops:
    """Return `count` crops with the teacher's outputs, read from the cache or computed and kept.

    Crop i depends only on the photos, the seed and i, so a larger count reuses a smaller one's.

    Args:
        teacher: the teacher.
        crops: the source of crops.
        count: number of crops.
        seed: seed of the crops.
        photos: hash of the photos' names and sizes.
        decoded: whether the teacher's images are needed too.
        folder: folder of the cache; None: the user's cache folder.

    Raises:
        DataError: a cache file is damaged or cannot be written.
    """
    content = {
        "format": _FORMAT,
        "teacher": teacher.sha256,
        "photos": photos,
        "size": crops.size,
        "framing": crops.framing,
        "min_scale": crops.min_scale,
        "seed": seed,
    }
    key = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:24]
    folder = (folder or cache_folder("teacher")) / key
    shards = [range(start, start + _SHARD) for start in range(0, count, _SHARD)]
    console.print(f"the teacher's outputs for {count} crops are kept in {folder}", soft_wrap=True)
    side, channels = crops.size, teacher.model.config.latent_channels
    cells = side // teacher.model.config.latent_factor
    image_shape = (_SHARD, side, side, 3)
    shapes = {
        "clean": image_shape,
        "latent": (_SHARD, channels, cells, cells),
        "decoded": image_shape,
    }
    clean, latent, images = [], [], []
    with counting_progress() as progress:
        for number, indices in enumerate(progress.track(shards, description="teacher's latents")):
            path = folder / f"crops-{number:05d}.safetensors"
            encoding = functools.partial(_encode, teacher, crops, seed, indices)
            part = _kept(path, shapes, ("clean", "latent"), encoding)
            clean.append(part["clean"].numpy())
            latent.append(part["latent"])
        for number in progress.track(
            range(len(shards)) if decoded else (), description="teacher's images"
        ):
            path = folder / f"decoded-{number:05d}.safetensors"
            part = _kept(
                path, shapes, ("decoded",), functools.partial(_decode, teacher, latent[number])
            )
            images.append(part["decoded"].numpy())
    return TeacherCrops(
        clean=np.concatenate(clean)[:count],
        latent=torch.cat(latent)[:count],
        decoded=np.concatenate(images)[:count] if decoded else None,
    )


def _encode(teacher: Teacher, crops: Crops, seed: int, indices: range) -> dict[str, Tensor]:
    images = np.stack([to_uint8(crops.draw(np.random.default_rng([seed, i]))) for i in indices])
    latent = [
        teacher.encode(images[start : start + _BATCH]) for start in range(0, len(images), _BATCH)
    ]
    return {"clean": torch.from_numpy(images), "latent": torch.cat(latent)}


def _decode(teacher: Teacher, latent: Tensor) -> dict[str, Tensor]:
    images = [
        teacher.decode(latent[start : start + _BATCH]) for start in range(0, len(latent), _BATCH)
    ]
    return {"decoded": torch.from_numpy(np.concatenate(images))}


def _kept(
    path: Path,
    shapes: Mapping[str, tuple[int, ...]],
    names: tuple[str, ...],
    make: Callable[[], dict[str, Tensor]],
) -> Mapping[str, Tensor]:
    """Read a cache file; compute and write it first if it does not exist."""
    if not path.exists():
        content = {key: value.contiguous() for key, value in make().items()}
        with replacing_file(path) as temporary:
            try:
                save_file(content, temporary)
            except SafetensorError as error:  # also raised when the disk is full
                raise DataError(
                    f"{path} cannot be written ({error})",
                    fix="make room on the disk, or pass another --teacher-cache",
                ) from error
        return content
    try:
        loaded = load_file(path)
        found = {name: loaded[name] for name in names}
    except (SafetensorError, KeyError, OSError) as error:
        raise DataError(
            f"{path} is damaged ({error})", fix="delete it; it will be made again"
        ) from error
    for name, value in found.items():
        if tuple(value.shape) != shapes[name] or value.dtype != _WANTED[name]:
            raise DataError(
                f"{path} holds something else",
                got=f"{name} {tuple(value.shape)} of {value.dtype}",
                expected=f"{shapes[name]} of {_WANTED[name]}",
                fix="delete it; it will be made again",
            )
    return found
