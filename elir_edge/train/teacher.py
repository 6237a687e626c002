"""A frozen teacher autoencoder, and what it makes of crops, kept on disk.

The teacher is many times larger than its pupils, so its latents and images of a fixed set of crops
are made once: a step that draws from them costs no pass through the teacher.
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
_WANTED = {"clean": torch.uint8, "latent": torch.bfloat16, "decoded": torch.uint8}
"""Crops per file: what a run loses at most when it is stopped while they are made."""
_BATCH = 8


@dataclass(frozen=True, kw_only=True)
class TeacherCrops:
    """Crops with a teacher's latents of them, in memory.

    Attributes:
        clean: uint8 (N, size, size, 3).
        latent: bfloat16 (N, C, size / 8, size / 8).
        decoded: the teacher's images of the latents, uint8 (N, size, size, 3); None: not wanted.
    """

    clean: NDArray[np.uint8]
    latent: Tensor
    decoded: NDArray[np.uint8] | None

    def __len__(self) -> int:
        """Return N."""
        return len(self.clean)

    def view(self, rng: np.random.Generator) -> View:
        """Return a random crop and what the teacher made of it."""
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
        path: of its checkpoint.
        sha256: of that file.
        model: its networks.
        device: that they are on.
    """

    path: Path
    sha256: str
    model: Elir
    device: str

    @torch.no_grad()
    def encode(self, crops: NDArray[np.uint8]) -> Tensor:
        """Return latents, bfloat16 (N, C, h, w), of crops uint8 (N, H, W, 3)."""
        images = torch.from_numpy(stack([to_float(crop) for crop in crops])).to(self.device)
        latent: Tensor = self.model.encoder(images)
        return latent.to(torch.bfloat16).cpu()

    @torch.no_grad()
    def decode(self, latent: Tensor) -> NDArray[np.uint8]:
        """Return images, uint8 (N, H, W, 3), of latents (N, C, h, w)."""
        images = self.model.decoder(latent.float().to(self.device)).clamp(0, 1)
        return to_uint8(images.permute(0, 2, 3, 1).cpu().numpy())


def load_teacher(path: Path, device: str) -> Teacher:
    """Load an autoencoder's checkpoint, TAESD3's diffusers file among them.

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
    """Return `count` crops with what the teacher makes of them, from disk as far as they are there.

    Crop i depends on the photos, the seed and i alone, so a larger count adds to a smaller one.

    Args:
        teacher: the teacher.
        crops: to draw from.
        count: number of crops.
        seed: of the crops.
        photos: hash of the photos' names and sizes.
        decoded: whether the teacher's images are wanted too.
        folder: of the cache; None: the user's own.

    Raises:
        DataError: a file of the cache is damaged or cannot be written.
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
    console.print(
        f"the teacher's work on {count} crops, made once, is kept in {folder}", soft_wrap=True
    )
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
    """Read a file of the cache, or make and write it."""
    if not path.exists():
        content = {key: value.contiguous() for key, value in make().items()}
        with replacing_file(path) as temporary:
            try:
                save_file(content, temporary)
            except SafetensorError as error:  # its word for a full disk, too
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
            f"{path} is damaged ({error})", fix="delete it; it is made again"
        ) from error
    for name, value in found.items():
        if tuple(value.shape) != shapes[name] or value.dtype != _WANTED[name]:
            raise DataError(
                f"{path} holds something else",
                got=f"{name} {tuple(value.shape)} of {value.dtype}",
                expected=f"{shapes[name]} of {_WANTED[name]}",
                fix="delete it; it is made again",
            )
    return found
