"""Validation: scores and pictures of a model on photos that it is not trained on."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elir_edge.data.datasets import centre_crop, list_images, read_rgb, to_float
from elir_edge.data.degradations import degrade
from elir_edge.data.operations import FloatImage, relative_sharpness, to_uint8
from elir_edge.data.tensors import to_batch, to_image
from elir_edge.metrics import psnr
from elir_edge.model import Elir, draw_noise
from elir_edge.model.lpips import LpipsSqueeze
from elir_edge.tasks import AUTOENCODER
from elir_edge.train.grid_error import grid_error
from elir_edge.train.teacher import Teacher

_PHOTOS = 20
_SHOWN = 4

Columns = dict[str, list[NDArray[np.uint8]]]
Results = dict[str, FloatImage]


class Validation(Protocol):
    """Scores and sample images of a model."""

    def scores(self, model: Elir) -> dict[str, float]:
        """Return named scores."""

    def samples(self, model: Elir) -> Columns:
        """Return a few uint8 images (H, W, 3) for each kind (input, restored, ...), or {}."""


class NoValidation:
    """The validation of runs without validation photos."""

    def scores(self, model: Elir) -> dict[str, float]:
        """Return no scores."""
        return {}

    def samples(self, model: Elir) -> Columns:
        """Return no images."""
        return {}


class _Photos:
    """The central squares of up to 20 photos of a folder, and the scores of results on them.

    Each kind of result has its PSNR. With LPIPS, it also has its LPIPS distance to the photo and
    its sharpness: its mean absolute Laplacian divided by the photo's, unless the photo is flat.
    """

    def __init__(self, folder: Path, size: int, device: str, perceptual: LpipsSqueeze | None):
        paths = list_images(folder)
        chosen = paths[:: max(1, len(paths) // _PHOTOS)][:_PHOTOS]
        self.device = device
        self.perceptual = perceptual
        self.clean = [to_float(centre_crop(read_rgb(path), size)) for path in chosen]

    @torch.no_grad()
    def score(self, index: int, kind: str, result: FloatImage) -> dict[str, float]:
        """Return the named scores of one result on photo `index`."""
        clean = self.clean[index]
        found = {kind: psnr(clean, result)}
        if self.perceptual is not None:
            pair = (to_batch(image, self.device) for image in (result, clean))
            found[f"{kind}_lpips"] = float(self.perceptual(*pair))
            sharpness = relative_sharpness(result, clean)
            if sharpness is not None:
                found[f"{kind}_sharpness"] = sharpness
        return found


def _means(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """Return each score's mean over the rows that have it."""
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: float(np.mean([row[name] for row in rows if name in row])) for name in names}


def _shown(results: Sequence[Results]) -> Columns:
    return {kind: [to_uint8(row[kind]) for row in results] for kind in results[0]}


class PhotoValidation:
    """Mean scores over the centres of up to 20 photos, with the same degradations in every call.

    Args:
        task: one of the five tasks, or `autoencoder`.
        folder: folder of photos.
        device: torch device of the models.
        size: side of the central squares, in pixels.
        degradation: name of the degradation; None: the task's default.
        perceptual: LPIPS network on the device; None: PSNR only.
    """

    def __init__(
        self,
        task: str,
        folder: Path,
        device: str,
        *,
        size: int = 256,
        degradation: str | None = None,
        perceptual: LpipsSqueeze | None = None,
    ) -> None:
        self._photos = _Photos(folder, size, device, perceptual)
        self._size = size
        self._is_task = task != AUTOENCODER
        self._inputs = self._photos.clean
        if self._is_task:
            self._inputs = [
                degrade(task, x, np.random.default_rng([1, i]), degradation)
                for i, x in enumerate(self._photos.clean)
            ]

    def scores(self, model: Elir) -> dict[str, float]:
        """Return the mean of each score (PSNR in dB) of each kind of result."""
        rows = []
        for index, results in enumerate(self._results(model, len(self._inputs))):
            kinds = [self._photos.score(index, kind, result) for kind, result in results.items()]
            rows.append({name: value for row in kinds for name, value in row.items()})
        return _means(rows)

    def samples(self, model: Elir) -> Columns:
        """Return inputs, results and ground truths of the first few photos."""
        shown = min(_SHOWN, len(self._inputs))
        return {
            "input": [to_uint8(x) for x in self._inputs[:shown]],
            **_shown(list(self._results(model, shown))),
            "clean": [to_uint8(x) for x in self._photos.clean[:shown]],
        }

    @torch.no_grad()
    def _results(self, model: Elir, count: int) -> Iterator[Results]:
        noise = draw_noise(model.config, self._size, self._size).to(self._photos.device)
        for image in self._inputs[:count]:
            x = to_batch(image, self._photos.device)
            if not self._is_task:
                yield {"through_autoencoder": to_image(model.decoder(model.encoder(x)))}
                continue
            z = model.initial_point(x)
            full = model.decoder(model.trajectory(z + noise)[-1])
            yield {"coarse": to_image(model.decoder(z)), "full": to_image(full)}


class DistillationValidation:
    """Compares a slim autoencoder with its teacher on the centres of up to 20 photos.

    Kinds of result: `decoded`: the slim decoder's image of the teacher's latent;
    `through_autoencoder`: its image of the slim encoder's latent. `grid` is `grid_error` of the
    decoded images against the teacher's.

    Args:
        teacher: the teacher.
        folder: folder of photos.
        device: torch device of the models.
        perceptual: LPIPS network on the device; None: no LPIPS.
        size: side of the central squares, in pixels.
    """

    def __init__(
        self,
        teacher: Teacher,
        folder: Path,
        device: str,
        *,
        perceptual: LpipsSqueeze | None = None,
        size: int = 256,
    ) -> None:
        self._photos = _Photos(folder, size, device, perceptual)
        self._latents: list[Tensor] = []
        self._taught: list[Tensor] = []
        with torch.no_grad():
            for image in self._photos.clean:
                latent = teacher.model.encoder(to_batch(image, device))
                self._latents.append(latent)
                self._taught.append(teacher.model.decoder(latent).clamp(0, 1))

    @torch.no_grad()
    def scores(self, model: Elir) -> dict[str, float]:
        """Return the mean of each score: PSNR in dB, errors of latents and of the grid."""
        rows = []
        for index, results in enumerate(self._results(model, len(self._latents))):
            row: dict[str, float] = {}
            for kind, result in results.items():
                row |= self._photos.score(index, kind, result)
            own = model.encoder(to_batch(self._photos.clean[index], self._photos.device))
            row["latent_error"] = float((own - self._latents[index]).abs().mean())
            decoded = to_batch(results["decoded"], self._photos.device)
            row["grid"] = float(grid_error(decoded - self._taught[index]))
            rows.append(row)
        return _means(rows)

    def samples(self, model: Elir) -> Columns:
        """Return results, teacher's images and photos, for the first few photos."""
        shown = min(_SHOWN, len(self._latents))
        return {
            **_shown(list(self._results(model, shown))),
            "teacher": [to_uint8(to_image(x)) for x in self._taught[:shown]],
            "clean": [to_uint8(x) for x in self._photos.clean[:shown]],
        }

    @torch.no_grad()
    def _results(self, model: Elir, count: int) -> Iterator[Results]:
        for image, latent in zip(self._photos.clean[:count], self._latents, strict=False):
            own = model.decoder(model.encoder(to_batch(image, self._photos.device)))
            yield {
                "decoded": to_image(model.decoder(latent)),
                "through_autoencoder": to_image(own),
            }
