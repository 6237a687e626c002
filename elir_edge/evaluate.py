"""Scores of whatever restores images: a bundle and a checkpoint go through the same code.

Images are float32 (H, W, 3) in [0, 1] from the degradation to the score, so nothing is rounded that
`benchmarks/quality.py` does not round; metrics of folders alone see 8-bit PNG files.
"""

import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from elir_edge.data.operations import FloatImage, to_uint8
from elir_edge.errors import ElirError, UsageError
from elir_edge.examples import Examples, network_input
from elir_edge.metrics import psnr, ssim
from elir_edge.perceptual import (
    PERCEPTUAL_METRICS,
    FolderScore,
    ImageScore,
    open_folder_metric,
    open_image_metric,
)

COLUMNS = ("input", "restored")
SAMPLE_LABELS = (*COLUMNS, "ground truth")
ALWAYS: dict[str, ImageScore] = {"psnr": psnr, "ssim": ssim}
TITLES = {"psnr": "PSNR, dB", "ssim": "SSIM"} | {
    metric.name: metric.title for metric in PERCEPTUAL_METRICS.values()
}
MAX_SAMPLES = 6

Restore = Callable[[FloatImage], NDArray[Any]]
"""What a user holds, to the restored image: `Restorer.restore`."""
Progress = Callable[[int], None]


def spread(total: int, count: int) -> list[int]:
    """Return up to `count` indices below `total`, evenly spread, the first one included."""
    count = min(total, count)
    return [index * total // count for index in range(count)]


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """The metrics of a run, loaded.

    Attributes:
        image: of single images, by name.
        folder: of folders of images, by name.
    """

    image: Mapping[str, ImageScore]
    folder: Mapping[str, FolderScore] = field(default_factory=dict)


def open_metrics(names: Sequence[str], *, device: str = "cpu") -> Metrics:
    """Load PSNR, SSIM and the named ones.

    Raises:
        UsageError: a name that is none of a metric.
        ElirError: metrics lack their packages or weights; all of them are named.
    """
    unknown = [name for name in names if name not in TITLES]
    if unknown:
        raise UsageError(
            f"unknown metric {', '.join(map(repr, unknown))}",
            expected=f"some of {', '.join(TITLES)}",
        )
    chosen = [PERCEPTUAL_METRICS[name] for name in TITLES if name in names and name not in ALWAYS]
    image, folder = dict(ALWAYS), dict[str, FolderScore]()
    problems: list[ElirError] = []
    for metric in chosen:
        try:
            if metric.of == "image":
                image[metric.name] = open_image_metric(metric.name, device=device)
            else:
                folder[metric.name] = open_folder_metric(metric.name, device=device)
        except ElirError as error:
            problems.append(error)
    if problems:
        raise ElirError("; ".join(map(str, problems))) from problems[0]
    return Metrics(image=image, folder=folder)


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The outcome.

    Attributes:
        names: of the images.
        images: score of every image, by column (`input`: enlarged if the task does so, not
            restored) and metric.
        folders: score of all images together, by column and metric.
        samples: rows of uint8 images as `SAMPLE_LABELS` says.
    """

    names: tuple[str, ...]
    images: dict[str, dict[str, list[float]]]
    folders: dict[str, dict[str, float]]
    samples: list[list[NDArray[np.uint8]]]

    def summary(self) -> dict[str, dict[str, float]]:
        """Return by metric the mean of each column, and the restored images' worst and best."""
        result: dict[str, dict[str, float]] = {}
        for metric, values in self.images["restored"].items():
            ends = (float(np.min(values)), float(np.max(values)))
            worst, best = ends[::-1] if lower_better(metric) else ends
            result[metric] = {c: float(np.mean(self.images[c][metric])) for c in COLUMNS}
            result[metric] |= {"worst": worst, "best": best}
        for metric in self.folders["restored"]:
            result[metric] = {c: self.folders[c][metric] for c in COLUMNS}
        return result


def lower_better(metric: str) -> bool:
    """Tell whether smaller values of a metric are better."""
    return metric in PERCEPTUAL_METRICS and PERCEPTUAL_METRICS[metric].lower_better


def evaluate(
    examples: Examples, restore: Restore, metrics: Metrics, progress: Progress = lambda done: None
) -> Evaluation:
    """Restore and score all examples, one at a time.

    Args:
        examples: what to restore.
        restore: see `Restore`.
        metrics: see `open_metrics`.
        progress: told the number of examples done.

    Raises:
        ElirError: an image cannot be read, restored or scored.
    """
    images: dict[str, dict[str, list[float]]] = {
        column: {name: [] for name in metrics.image} for column in COLUMNS
    }
    samples: list[list[NDArray[np.uint8]]] = []
    shown = spread(len(examples), MAX_SAMPLES)
    with tempfile.TemporaryDirectory(prefix="elir-edge-") as scratch:
        for index in range(len(examples)):
            example = examples.load(index)
            columns = {
                "input": network_input(example, examples.task),
                "restored": np.asarray(restore(example.given), dtype=np.float32),
            }
            for column, image in columns.items():
                for name, score in metrics.image.items():
                    images[column][name].append(score(image, example.reference))
            row = [to_uint8(image) for image in (*columns.values(), example.reference)]
            if metrics.folder:
                _keep(Path(scratch), index, row)
            if index in shown:
                samples.append(row)
            progress(index + 1)
        folders = {
            column: {
                name: score(Path(scratch, column), Path(scratch, SAMPLE_LABELS[-1]))
                for name, score in metrics.folder.items()
            }
            for column in COLUMNS
        }
    return Evaluation(names=examples.names, images=images, folders=folders, samples=samples)


def _keep(folder: Path, index: int, row: Sequence[NDArray[np.uint8]]) -> None:
    for label, image in zip(SAMPLE_LABELS, row, strict=True):
        (folder / label).mkdir(exist_ok=True)
        Image.fromarray(image).save(folder / label / f"{index:06d}.png", compress_level=1)


def finite(value: Any) -> Any:
    """Return JSON values with None for numbers that JSON cannot hold (inf, nan)."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite(each) for key, each in value.items()}
    return [finite(each) for each in value] if isinstance(value, list | tuple) else value
