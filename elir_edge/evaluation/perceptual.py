"""Perceptual metrics of IQA-PyTorch (`pyiqa`), and the identity score with facexlib's ArcFace.

No other file imports these packages. Weights are downloaded on first use, from pyiqa's addresses,
into the folder where pyiqa looks for them: torch's hub folder (`TORCH_HOME` changes it). pyiqa
unpickles its weights without restrictions, so use files from the listed addresses only.
"""

import contextlib
import http.client
import math
import pickle
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elir_edge.errors import ElirError, ImageError, UsageError
from elir_edge.metric_table import METRICS, Metric, WeightsFile

FloatImage = NDArray[np.float32]
ImageScore = Callable[[FloatImage, FloatImage], float]
"""Maps (image, reference), both (H, W, 3) in [0, 1], to a score; some ignore the reference."""
FolderScore = Callable[[Path, Path], float]
"""Maps (folder of images, folder of references) to a score; some ignore the references."""

FACE_ROWS, FACE_COLUMNS = (35 / 256, 223 / 256), (32 / 256, 220 / 256)
"""The inner part of an FFHQ-aligned face that ArcFace takes, as fractions of the sides."""
FACE_SIDE = 112

_HOMES = {"pkg_resources": "setuptools<81"}
"""Maps a module to the package that provides it, if their names differ."""


def open_image_metric(name: str, *, device: str = "cpu") -> ImageScore:
    """Load a metric of single images.

    Raises:
        UsageError: there is no such metric.
        ElirError: a package is missing, or a weights file is missing or damaged.
    """
    metric = _metric(name, "image")
    with _explained(metric):
        network = (_pyiqa if metric.computed == "pyiqa" else _arcface)(metric, device)

    def score(image: FloatImage, reference: FloatImage) -> float:
        import torch

        from elir_edge.data.tensors import to_batch

        check_side(metric, image)
        compared = (image, reference) if metric.needs_reference else (image,)
        with torch.no_grad():
            return float(network(*(to_batch(each, device) for each in compared)))

    return score


def open_folder_metric(name: str, *, device: str = "cpu") -> FolderScore:
    """Load a metric of folders of images; it compares distributions and needs thousands of images.

    Raises:
        UsageError: there is no such metric.
        ElirError: a package is missing, or a weights file is missing or damaged.
    """
    metric = _metric(name, "folder")
    with _explained(metric):
        network = _pyiqa(metric, device)

    def score(folder: Path, references: Path) -> float:
        compared = (folder, references) if metric.needs_reference else (folder,)
        if any(len(list(each.iterdir())) < 2 for each in compared):
            raise UsageError(f"metric {name} needs more than one image")
        return float(network(*map(str, compared), **metric.options))

    return score


def _metric(name: str, of: str) -> Metric:
    known = [m for m in METRICS.values() if m.of == of and m.computed in ("pyiqa", "facexlib")]
    metric = METRICS.get(name)
    if metric not in known:
        names = ", ".join(each.name for each in known)
        raise UsageError(f"unknown metric {name!r} of {of}s", expected=f"one of {names}")
    assert metric is not None
    return metric


def _pyiqa(metric: Metric, device: str) -> Any:
    import pyiqa

    for weights in metric.weights:
        _fetch(metric, weights)
    return pyiqa.create_metric(metric.pyiqa, device=device)


def _arcface(metric: Metric, device: str) -> Callable[..., float]:
    """Return a function that gives the angle in degrees between two faces' embeddings.

    The network is ArcFace (Deng et al., 2019). The faces are aligned as in FFHQ; their inner part
    is reduced by averaging to 112 x 112, RGB in [-1, 1].
    """
    import torch
    from facexlib.recognition.arcface_arch import Backbone
    from torch import nn

    (weights,) = metric.weights
    _fetch(metric, weights)
    network = Backbone(num_layers=50, drop_ratio=0.6, mode="ir_se").eval()
    network.load_state_dict(torch.load(weights.path, map_location="cpu", weights_only=True))
    network.to(device)

    def embed(face: torch.Tensor) -> torch.Tensor:
        height, width = face.shape[-2:]
        top, bottom = (round(share * height) for share in FACE_ROWS)
        left, right = (round(share * width) for share in FACE_COLUMNS)
        inner = nn.functional.adaptive_avg_pool2d(face[..., top:bottom, left:right], FACE_SIDE)
        embedding: torch.Tensor = network(inner * 2 - 1)[0]
        return nn.functional.normalize(embedding, dim=0)

    def angle(face: torch.Tensor, reference: torch.Tensor) -> float:
        cosine = float(embed(face) @ embed(reference))
        return math.degrees(math.acos(min(1.0, max(-1.0, cosine))))

    return angle


def _fetch(metric: Metric, weights: WeightsFile) -> None:
    import torch

    path = weights.path
    if path.is_file():
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        print(f"fetching {weights.url}", file=sys.stderr)
        torch.hub.download_url_to_file(weights.url, str(path), progress=sys.stderr.isatty())
    except (OSError, http.client.HTTPException, RuntimeError) as error:
        raise ElirError(
            f"metric {metric.name} needs {path.name}, which is not in {path.parent} and cannot be "
            f"fetched ({error})",
            fix=f"download {weights.url} where there is a network, and put it there",
        ) from error


@contextlib.contextmanager
def _explained(metric: Metric) -> Iterator[None]:
    """Turn the exceptions of a metric's loading into one `ElirError`; keep prints off stdout."""
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    except ModuleNotFoundError as error:
        missing = error.name or "a package"
        package = _HOMES.get(missing)
        raise ElirError(
            f"metric {metric.name} needs {missing}, which is not installed",
            fix=f"pip install {package!r}" if package else "install the `perceptual` extra",
        ) from error
    except ImportError as error:
        raise ElirError(f"metric {metric.name} cannot be loaded ({error})") from error
    except _load_errors() as error:
        if "torchvision::" in str(error):
            raise ElirError(
                f"metric {metric.name} needs a torchvision of the same build as torch ({error})",
                fix="install torchvision from the index that torch came from",
            ) from error
        files = ", ".join(str(weights.path) for weights in metric.weights)
        raise ElirError(
            f"metric {metric.name} cannot be loaded ({str(error) or type(error).__name__})",
            fix=f"delete {files}, which may be damaged, and try again",
        ) from error


def _load_errors() -> tuple[type[Exception], ...]:
    """Return the exceptions that torch, scipy and pyiqa raise on damaged weights files."""
    found: list[type[Exception]] = [
        OSError,
        EOFError,
        LookupError,
        RuntimeError,
        ValueError,
        pickle.UnpicklingError,
    ]
    with contextlib.suppress(ModuleNotFoundError):
        from scipy.io.matlab import MatReadError

        found.append(MatReadError)
    return tuple(found)


def check_side(metric: Metric, image: FloatImage) -> None:
    """Check that an image is large enough for a metric.

    Raises:
        ImageError: a side is shorter than the metric's `min_side`.
    """
    if min(image.shape[:2]) < metric.min_side:
        raise ImageError(
            f"an image is too small for the metric {metric.name}",
            got=f"{image.shape[1]} x {image.shape[0]}",
            expected=f"at least {metric.min_side} x {metric.min_side} pixels",
        )
