"""Batches of photo crops: a pure function of the folder, the seed and the step."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from elir_edge.data.degradations import degrade
from elir_edge.data.operations import FloatImage, resize
from elir_edge.errors import DataError, UsageError
from elir_edge.files import DECODER_ERRORS

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")


def list_images(folder: Path) -> list[Path]:
    """Return all image files below `folder`, sorted.

    Raises:
        DataError: the folder is missing or holds no image.
    """
    if not folder.is_dir():
        raise DataError(f"no folder {folder}", fix="pass a folder of photos")
    # Names stay strings until they are sorted: with `Path`s, a million files would take minutes.
    names: list[str] = []
    for parent, folders, files in os.walk(folder):
        folders.sort()
        names += [f"{parent}/{name}" for name in files if name.lower().endswith(SUFFIXES)]
    if not names:
        raise DataError(f"no images in {folder}", expected=f"files ending in {' '.join(SUFFIXES)}")
    names.sort()
    return [Path(name) for name in names]


def read_rgb(path: Path) -> NDArray[np.uint8]:
    """Return a photo as uint8 RGB (H, W, 3), rotated upright by its EXIF tag.

    Raises:
        DataError: Pillow cannot read the file as an image.
    """
    try:
        with Image.open(path) as image:
            return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    except (*DECODER_ERRORS, Image.DecompressionBombError) as error:
        raise DataError(f"{path} cannot be read as an image ({error})", fix="remove it") from error


def to_float(image: NDArray[np.uint8]) -> FloatImage:
    """Scale 8-bit values to [0, 1]."""
    return image.astype(np.float32) / np.float32(255)


def centre_crop(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Return the central size x size crop; an image with a shorter side is enlarged first."""
    image = _at_least(image, size)
    top, left = (image.shape[0] - size) // 2, (image.shape[1] - size) // 2
    return image[top : top + size, left : left + size]


def _at_least(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    height, width = image.shape[:2]
    if min(height, width) >= size:
        return image
    scale = size / min(height, width)
    target = (max(size, round(width * scale)), max(size, round(height * scale)))
    return np.asarray(Image.fromarray(image).resize(target, Image.Resampling.BICUBIC))


class PhotoCache:
    """Decoded photos by index, cached in memory up to `max_bytes`."""

    def __init__(self, paths: Sequence[Path], max_bytes: int) -> None:
        self._paths = list(paths)
        self._max_bytes = max_bytes
        self._bytes = 0
        self._photos: dict[int, NDArray[np.uint8]] = {}

    def __len__(self) -> int:
        """Return the number of photos."""
        return len(self._paths)

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        """Return photo `index` as uint8 (H, W, 3)."""
        photo = self._photos.get(index)
        if photo is None:
            photo = read_rgb(self._paths[index])
            if self._bytes + photo.nbytes <= self._max_bytes:
                self._photos[index] = photo
                self._bytes += photo.nbytes
        return photo


@dataclass(frozen=True, kw_only=True)
class Batch:
    """The images of one training step, float32.

    Attributes:
        clean: clean crops, (B, 3, size, size) in [0, 1].
        degraded: the degraded crops, same shape and range.
        latent: a teacher's latents of the clean crops, (B, C, size / 8, size / 8), or None.
        decoded: the teacher's decoded images of these latents, (B, 3, size, size) in [0, 1], or
            None.
    """

    clean: NDArray[np.float32]
    degraded: NDArray[np.float32]
    latent: NDArray[np.float32] | None = None
    decoded: NDArray[np.float32] | None = None


@dataclass(frozen=True, kw_only=True)
class Share:
    """One process's share of every batch: part `rank` (from 0) of `count` equal parts."""

    rank: int = 0
    count: int = 1

    def indices(self, batch_size: int) -> range:
        """Return the indices of this process's samples within a batch.

        Raises:
            UsageError: the batch size is not a multiple of the number of processes.
        """
        if batch_size % self.count:
            raise UsageError(
                f"a batch of {batch_size} cannot be shared by {self.count} processes",
                expected="a multiple of the number of processes",
                fix="pass another --batch-size",
            )
        size = batch_size // self.count
        return range(self.rank * size, (self.rank + 1) * size)


@dataclass(frozen=True, kw_only=True)
class View:
    """One clean training image, with a teacher's outputs if there is a teacher (see `Batch`).

    Attributes:
        clean: the image, (size, size, 3) in [0, 1].
        latent: the teacher's latent, (C, size / 8, size / 8), or None.
        decoded: the teacher's decoded image, (size, size, 3) in [0, 1], or None.
    """

    clean: FloatImage
    latent: NDArray[np.float32] | None = None
    decoded: FloatImage | None = None


class CropSource(Protocol):
    """A source of random training views."""

    def view(self, rng: np.random.Generator) -> View:
        """Return a view that depends only on the state of the generator."""


@dataclass(frozen=True, kw_only=True)
class Crops:
    """Random views of photos, mirrored with probability 1/2.

    Attributes:
        photos: the photos to crop from.
        size: side of a view, in pixels.
        framing: `crop`: a random square; `whole`: the photo's central square, resized to `size`.
        min_scale: before a crop is taken, the photo is scaled by a factor drawn uniformly from
            [min_scale, 1], but its short side never below `size`; 1: no scaling.
    """

    photos: PhotoCache
    size: int
    framing: Literal["crop", "whole"] = "crop"
    min_scale: float = 1.0

    def view(self, rng: np.random.Generator) -> View:
        """Return a random crop as a view without teacher outputs."""
        return View(clean=self.draw(rng))

    def draw(self, rng: np.random.Generator) -> FloatImage:
        """Return a random crop (size, size, 3) in [0, 1]."""
        photo = self.photos[int(rng.integers(len(self.photos)))]
        if self.framing == "whole":
            square = centre_crop(photo, min(photo.shape[:2]))
            return resize(to_float(_flip(square, rng)), self.size, self.size, "bicubic")
        photo = _at_least(photo, self.size)
        window = self.size
        if self.min_scale < 1:
            widest = min(*photo.shape[:2], int(self.size / self.min_scale))
            window = min(widest, round(self.size / float(rng.uniform(self.min_scale, 1))))
        top = int(rng.integers(photo.shape[0] - window + 1))
        left = int(rng.integers(photo.shape[1] - window + 1))
        crop = to_float(_flip(photo[top : top + window, left : left + window], rng))
        return resize(crop, self.size, self.size, "bicubic")


class CropSampler:
    """Batches of views, degraded for a task; `task` None: not degraded.

    Sample `i` of batch `step` depends only on the source, `seed`, `step` and `i`. So a resumed run
    sees the same batches as an uninterrupted one, and several processes the same as a single one.
    """

    def __init__(
        self,
        source: CropSource,
        *,
        task: str | None,
        batch_size: int,
        seed: int,
        degradation: str | None = None,
        share: Share | None = None,
    ) -> None:
        self._source = source
        self._task = task
        self._degradation = degradation
        self._indices = (share or Share()).indices(batch_size)
        self._seed = seed

    def __call__(self, step: int) -> Batch:
        """Return this process's share of batch number `step`."""
        views, degraded = [], []
        for index in self._indices:
            rng = np.random.default_rng([self._seed, step, index])
            views.append(self._source.view(rng))
            degraded.append(self._degraded(views[-1].clean, rng))
        latents = [view.latent for view in views if view.latent is not None]
        decoded = [view.decoded for view in views if view.decoded is not None]
        return Batch(
            clean=stack([view.clean for view in views]),
            degraded=stack(degraded),
            latent=np.stack(latents) if latents else None,
            decoded=stack(decoded) if decoded else None,
        )

    def _degraded(self, clean: FloatImage, rng: np.random.Generator) -> FloatImage:
        if self._task is None:
            return clean
        return degrade(self._task, clean, rng, self._degradation)


def _flip(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    return image[:, ::-1] if rng.random() < 0.5 else image


def stack(images: Sequence[FloatImage]) -> NDArray[np.float32]:
    """Stack images (H, W, 3) of equal size into a batch (B, 3, H, W)."""
    return np.ascontiguousarray(np.stack(images).transpose(0, 3, 1, 2))
