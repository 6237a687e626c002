"""Scores and pictures of a model on photos that it does not learn from."""

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from elir_edge.data.datasets import centre_crop, list_images, read_rgb, to_float
from elir_edge.data.degradations import degrade
from elir_edge.data.operations import FloatImage, to_uint8
from elir_edge.metrics import psnr
from elir_edge.model import Elir, draw_noise
from elir_edge.tasks import AUTOENCODER
from elir_edge.tensors import to_batch, to_image

_SIZE = 256
_PHOTOS = 20
_SHOWN = 4

Columns = dict[str, list[NDArray[np.uint8]]]


class Validation(Protocol):
    """Scores and sample images of a model."""

    def scores(self, model: Elir) -> dict[str, float]:
        """Return named scores, higher is better."""

    def samples(self, model: Elir) -> Columns:
        """Return uint8 images (H, W, 3) by what they show, a few of each; {}: nothing to show."""


class NoValidation:
    """For runs without validation photos."""

    def scores(self, model: Elir) -> dict[str, float]:
        """Return nothing."""
        return {}

    def samples(self, model: Elir) -> Columns:
        """Return nothing."""
        return {}


class PhotoValidation:
    """Mean PSNR over the central 256 x 256 of up to 20 photos, always degraded alike.

    Args:
        task: one of the five, or `autoencoder`.
        folder: of photos.
        device: torch device of the models.
    """

    def __init__(self, task: str, folder: Path, device: str) -> None:
        paths = list_images(folder)
        chosen = paths[:: max(1, len(paths) // _PHOTOS)]
        self._device = device
        self._clean = [to_float(centre_crop(read_rgb(path), _SIZE)) for path in chosen]
        if task == AUTOENCODER:
            self._inputs, self._kinds = self._clean, ["through_autoencoder"]
            return
        self._inputs = [
            degrade(task, x, np.random.default_rng([1, i])) for i, x in enumerate(self._clean)
        ]
        self._kinds = ["coarse", "full"]

    def scores(self, model: Elir) -> dict[str, float]:
        """Return the mean PSNR in dB of each kind of result."""
        totals: dict[str, list[float]] = {kind: [] for kind in self._kinds}
        for clean, results in zip(self._clean, self._results(model, len(self._clean)), strict=True):
            for kind, result in results.items():
                totals[kind].append(psnr(clean, result))
        return {kind: float(np.mean(values)) for kind, values in totals.items()}

    def samples(self, model: Elir) -> Columns:
        """Return inputs, results and ground truths of the first photos."""
        shown = min(_SHOWN, len(self._clean))
        columns: Columns = {"input": [to_uint8(x) for x in self._inputs[:shown]]}
        for results in self._results(model, shown):
            for kind, result in results.items():
                columns.setdefault(kind, []).append(to_uint8(result))
        return {**columns, "clean": [to_uint8(x) for x in self._clean[:shown]]}

    @torch.no_grad()
    def _results(self, model: Elir, count: int) -> Iterator[dict[str, FloatImage]]:
        noise = draw_noise(model.config, _SIZE, _SIZE).to(self._device)
        for image in self._inputs[:count]:
            x = to_batch(image, self._device)
            z = model.encoder(x) if "full" not in self._kinds else model.initial_point(x)
            found = {self._kinds[0]: model.decoder(z)}
            if "full" in self._kinds:
                found["full"] = model.decoder(model.trajectory(z + noise)[-1])
            yield {kind: to_image(result) for kind, result in found.items()}
