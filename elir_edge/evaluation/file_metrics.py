"""Metrics of single images whose weights are in a folder of the user (`--metric-weights DIR`)."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from elir_edge.data.operations import FloatImage, resize
from elir_edge.data.tensors import to_batch
from elir_edge.errors import BackendError, ParityError, UsageError
from elir_edge.evaluation.perceptual import (
    FACE_COLUMNS,
    FACE_ROWS,
    FACE_SIDE,
    ImageScore,
    check_side,
)
from elir_edge.metric_table import IDENTITY_FILE, LPIPS_FILE, METRICS, NIQE_FILE, Metric
from elir_edge.metric_weights import damage_error, find_weights, read_lpips, read_niqe
from elir_edge.niqe import load_scipy
from elir_edge.runtime.backends.ort import OnnxRuntimeBackend

FaceEmbedder = Callable[[FloatImage], NDArray[np.float64]]
"""Maps a face (H, W, 3) in [0, 1], aligned as in FFHQ, to an embedding of norm 1."""

_IMAGENET_MEAN, _IMAGENET_DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_IDENTITY_INPUT, _IDENTITY_LENGTH = "input0", 128


def open_file_metric(name: str, folder: Path, device: str = "cpu") -> ImageScore:
    """Load a metric of single images whose weights are in a folder.

    Args:
        name: name of a metric that has a `file` in `METRICS`.
        folder: folder with the file.
        device: torch device for LPIPS; the other metrics run on the CPU.

    Raises:
        UsageError: there is no such metric or no such file.
        CheckpointError: the file is damaged or has other content.
    """
    metric = METRICS.get(name)
    if metric is None or metric.file not in _OPENERS:
        names = ", ".join(each.name for each in METRICS.values() if each.file)
        raise UsageError(f"no weights of {name!r} are read from a folder", expected=names)
    score = _OPENERS[metric.file](folder, device)

    def checked(image: FloatImage, reference: FloatImage) -> float:
        _check_pair(metric, image, reference)
        return score(image, reference)

    return checked


def _check_pair(metric: Metric, image: FloatImage, reference: FloatImage) -> None:
    check_side(metric, image)
    if metric.needs_reference and image.shape != reference.shape:
        raise ParityError(
            f"{metric.name} compares images of one size", got=f"{image.shape} and {reference.shape}"
        )


def read_identity(folder: Path) -> FaceEmbedder:
    """Return the face embedding of the MobileFaceNet in `IDENTITY_FILE`, run by ONNX Runtime.

    The file's input is a 112 x 112 RGB face, normalised by ImageNet's mean and standard deviation;
    its output is one embedding.

    Raises:
        UsageError: there is no such file.
        CheckpointError: the file is damaged or has other content.
    """
    path = find_weights(folder, IDENTITY_FILE)
    mean, deviation = (np.array(v, np.float32) for v in (_IMAGENET_MEAN, _IMAGENET_DEVIATION))
    try:
        session = OnnxRuntimeBackend(path, threads=None)
    except BackendError as error:
        raise damage_error(path, "MobileFaceNet", str(error)) from error

    def embed(face: FloatImage) -> NDArray[np.float64]:
        inner = (inner_face(face) - mean) / deviation
        planes = np.ascontiguousarray(inner.transpose(2, 0, 1)[None])
        try:
            outputs = session.run({_IDENTITY_INPUT: planes})
        except BackendError as error:
            raise damage_error(path, "MobileFaceNet", str(error)) from error
        vector = np.concatenate([each.ravel() for each in outputs.values()]).astype(np.float64)
        return np.asarray(vector / np.linalg.norm(vector))

    gray = embed(np.full((FACE_SIDE, FACE_SIDE, 3), 0.5, np.float32))
    if gray.shape != (_IDENTITY_LENGTH,) or not np.isfinite(gray).all():
        raise damage_error(
            path, "MobileFaceNet", f"{gray.size} numbers, not {_IDENTITY_LENGTH} finite ones"
        )
    return embed


def inner_face(face: FloatImage) -> FloatImage:
    """Return the inner part of an FFHQ-aligned face, (112, 112, 3), which a recogniser takes."""
    height, width = face.shape[:2]
    top, bottom = (round(share * height) for share in FACE_ROWS)
    left, right = (round(share * width) for share in FACE_COLUMNS)
    return resize(face[top:bottom, left:right], FACE_SIDE, FACE_SIDE, "bilinear")


def _lpips_score(folder: Path, device: str) -> ImageScore:
    network = read_lpips(folder, device)

    def score(image: FloatImage, reference: FloatImage) -> float:
        with torch.no_grad():
            return float(network(to_batch(image, device), to_batch(reference, device)))

    return score


def _niqe_score(folder: Path, device: str) -> ImageScore:
    load_scipy()
    model = read_niqe(folder)
    return lambda image, reference: model.score(image)


def _identity_score(folder: Path, device: str) -> ImageScore:
    embed = read_identity(folder)
    return lambda image, reference: float(embed(image) @ embed(reference))


_OPENERS: dict[str | None, Callable[[Path, str], ImageScore]] = {
    LPIPS_FILE: _lpips_score,
    NIQE_FILE: _niqe_score,
    IDENTITY_FILE: _identity_score,
}
