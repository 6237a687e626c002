"""Perceptual metrics through IQA-PyTorch (`pyiqa`), and the identity score by facexlib's ArcFace.

The only file that imports either. Weights are fetched on first use, from where pyiqa fetches them,
into where it looks for them: torch's hub folder (the environment variable `TORCH_HOME` moves it).
pyiqa unpickles its weights in full, so take them from the listed addresses only.
"""

import contextlib
import http.client
import math
import pickle
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from elir_edge.errors import ElirError, ImageError, UsageError

FloatImage = NDArray[np.float32]
ImageScore = Callable[[FloatImage, FloatImage], float]
"""(image, reference), both (H, W, 3) in [0, 1], to a score."""
FolderScore = Callable[[Path, Path], float]
"""(folder of images, folder of references) to a score."""

_PYIQA = "https://huggingface.co/chaofengc/IQA-PyTorch-Weights/resolve/main"
_CLIP = "https://openaipublic.azureedge.net/clip/models"
_RN50 = "afeb0e10f9e5a86da6080e35cf09123aca3b358a0c3e3b6c78a7b63bc04b6762"
_FACEXLIB = "https://github.com/xinntao/facexlib/releases/download/v0.1.0"

_FACE_ROWS, _FACE_COLUMNS = (35 / 256, 223 / 256), (32 / 256, 220 / 256)
"""What ArcFace sees of a face that is aligned as FFHQ's are, as shares of its sides."""
_ARCFACE_SIDE = 112
_HOMES = {"pkg_resources": "setuptools<81"}
"""Packages that modules without a package of their name come with."""


@dataclass(frozen=True, kw_only=True)
class WeightsFile:
    """A file that a metric needs: its address, and its folder below torch's hub folder."""

    url: str
    folder: str = "pyiqa"

    @property
    def path(self) -> Path:
        """Where pyiqa looks for it."""
        import torch

        return Path(torch.hub.get_dir()) / self.folder / self.url.rsplit("/", 1)[1]


@dataclass(frozen=True, kw_only=True)
class PerceptualMetric:
    """What there is to know about a metric before it is loaded.

    Attributes:
        name: here and on the command line.
        title: as papers write it.
        pyiqa: its name in pyiqa; None: not one of pyiqa's.
        lower_better: whether smaller values are better.
        of: single images, or whole folders of them.
        needs_reference: whether the ground truth is looked at.
        min_side: of the images, in pixels.
        weights: what must be fetched.
        options: of pyiqa's call.
    """

    name: str
    title: str
    pyiqa: str | None
    lower_better: bool
    of: Literal["image", "folder"] = "image"
    needs_reference: bool = False
    min_side: int = 32
    weights: tuple[WeightsFile, ...]
    options: dict[str, Any] = field(default_factory=dict)


_INCEPTION = WeightsFile(url=f"{_PYIQA}/pt_inception-2015-12-05-6726825d.pth")
_FID_CALL: dict[str, Any] = {"num_workers": 0, "verbose": False}

PERCEPTUAL_METRICS: dict[str, PerceptualMetric] = {
    metric.name: metric
    for metric in (
        PerceptualMetric(
            name="lpips",
            title="LPIPS (AlexNet)",
            pyiqa="lpips",
            lower_better=True,
            needs_reference=True,
            weights=(
                WeightsFile(
                    url="https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
                    folder="checkpoints",
                ),
                WeightsFile(url=f"{_PYIQA}/LPIPS_v0.1_alex-df73285e.pth"),
            ),
        ),
        PerceptualMetric(
            name="fid",
            title="FID against the references",
            pyiqa="fid",
            lower_better=True,
            of="folder",
            needs_reference=True,
            weights=(_INCEPTION,),
            options=_FID_CALL,
        ),
        PerceptualMetric(
            name="fid-ffhq",
            title="FID against FFHQ",
            pyiqa="fid",
            lower_better=True,
            of="folder",
            weights=(_INCEPTION, WeightsFile(url=f"{_PYIQA}/ffhq_clean_trainval70k_512.npz")),
            options=_FID_CALL
            | {"dataset_name": "FFHQ", "dataset_res": 512, "dataset_split": "trainval70k"},
        ),
        PerceptualMetric(
            name="niqe",
            title="NIQE",
            pyiqa="niqe",
            lower_better=True,
            min_side=96,
            weights=(WeightsFile(url=f"{_PYIQA}/niqe_modelparameters.mat"),),
        ),
        PerceptualMetric(
            name="musiq",
            title="MUSIQ (KonIQ-10k)",
            pyiqa="musiq",
            lower_better=False,
            weights=(WeightsFile(url=f"{_PYIQA}/musiq_koniq_ckpt-e95806b9.pth"),),
        ),
        PerceptualMetric(
            name="clipiqa",
            title="CLIP-IQA",
            pyiqa="clipiqa",
            lower_better=False,
            weights=(WeightsFile(url=f"{_CLIP}/{_RN50}/RN50.pt", folder="clip"),),
        ),
        PerceptualMetric(
            name="ids",
            title="IDS (angle of ArcFace, degrees)",
            pyiqa=None,
            lower_better=True,
            needs_reference=True,
            weights=(WeightsFile(url=f"{_FACEXLIB}/recognition_arcface_ir_se50.pth"),),
        ),
    )
}


def open_image_metric(name: str, *, device: str = "cpu") -> ImageScore:
    """Load a metric of single images.

    Raises:
        UsageError: no such metric.
        ElirError: its package or a weights file is missing or damaged; the line says which.
    """
    metric = _metric(name, "image")
    with _explained(metric):
        network = (_pyiqa if metric.pyiqa else _arcface)(metric, device)

    def score(image: FloatImage, reference: FloatImage) -> float:
        import torch

        from elir_edge.tensors import to_batch

        _check_side(metric, image)
        compared = (image, reference) if metric.needs_reference else (image,)
        with torch.no_grad():
            return float(network(*(to_batch(each, device) for each in compared)))

    return score


def open_folder_metric(name: str, *, device: str = "cpu") -> FolderScore:
    """Load a metric of folders of images; it compares distributions and needs thousands of them.

    Raises:
        UsageError: no such metric.
        ElirError: its package or a weights file is missing or damaged; the line says which.
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


def _metric(name: str, of: str) -> PerceptualMetric:
    metric = PERCEPTUAL_METRICS.get(name)
    if metric is None or metric.of != of:
        known = [m.name for m in PERCEPTUAL_METRICS.values() if m.of == of]
        raise UsageError(f"unknown metric {name!r} of {of}s", expected=f"one of {', '.join(known)}")
    return metric


def _pyiqa(metric: PerceptualMetric, device: str) -> Any:
    import pyiqa

    for weights in metric.weights:
        _fetch(metric, weights)
    return pyiqa.create_metric(metric.pyiqa, device=device)


def _arcface(metric: PerceptualMetric, device: str) -> Callable[..., float]:
    """Return the angle in degrees between the embeddings of two faces (Deng et al., 2019).

    The faces are aligned as FFHQ's; their inner part is averaged down to 112 x 112, RGB in [-1, 1].
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
        top, bottom = (round(share * height) for share in _FACE_ROWS)
        left, right = (round(share * width) for share in _FACE_COLUMNS)
        inner = nn.functional.adaptive_avg_pool2d(face[..., top:bottom, left:right], _ARCFACE_SIDE)
        embedding: torch.Tensor = network(inner * 2 - 1)[0]
        return nn.functional.normalize(embedding, dim=0)

    def angle(face: torch.Tensor, reference: torch.Tensor) -> float:
        cosine = float(embed(face) @ embed(reference))
        return math.degrees(math.acos(min(1.0, max(-1.0, cosine))))

    return angle


def _fetch(metric: PerceptualMetric, weights: WeightsFile) -> None:
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
def _explained(metric: PerceptualMetric) -> Iterator[None]:
    """Turn what pyiqa raises while it loads into one line; keep what it prints off the output."""
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
    """Return what damaged weights files are known to raise in torch, scipy and pyiqa."""
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


def _check_side(metric: PerceptualMetric, image: FloatImage) -> None:
    if min(image.shape[:2]) < metric.min_side:
        raise ImageError(
            f"an image is too small for the metric {metric.name}",
            got=f"{image.shape[1]} x {image.shape[0]}",
            expected=f"at least {metric.min_side} x {metric.min_side} pixels",
        )
