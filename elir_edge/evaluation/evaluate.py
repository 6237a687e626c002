"""Scores of anything that restores images: bundles and checkpoints go through the same code.

Images stay float32 (H, W, 3) in [0, 1] from the degradation to the score, without rounding, as in
`benchmarks/quality.py`. Only metrics of whole folders see 8-bit PNG files.
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
from elir_edge.evaluation.examples import Examples, network_input
from elir_edge.evaluation.file_metrics import open_file_metric
from elir_edge.evaluation.perceptual import (
    FolderScore,
    ImageScore,
    open_folder_metric,
    open_image_metric,
)
from elir_edge.metric_table import METRICS, Metric, chosen_metrics
from elir_edge.metric_weights import check_folder, has_weights
from elir_edge.metrics import psnr, ssim_rgb, ssim_y

COLUMNS = ("input", "restored")
GROUND_TRUTH = "ground truth"
SAMPLE_LABELS = (*COLUMNS, GROUND_TRUTH)
MAX_SAMPLES = 6

RestoreFunction = Callable[[FloatImage], NDArray[Any]]
"""Maps the image that a user has to the restored image, as `Restorer.restore` does."""
EvaluationProgress = Callable[[int], None]

_OWN_METRICS: dict[str, ImageScore] = {"psnr": psnr, "ssim-y": ssim_y, "ssim-rgb": ssim_rgb}


def spread(total: int, count: int) -> list[int]:
    """Return up to `count` evenly spaced indices below `total`, starting at 0."""
    count = min(total, count)
    return [index * total // count for index in range(count)]


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """The loaded metrics of a run.

    Attributes:
        image: metrics of single images, by name.
        folder: metrics of folders of images, by name.
        files: by metric, the name of the weights file that was taken from the user's folder.
    """

    image: Mapping[str, ImageScore]
    folder: Mapping[str, FolderScore] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)


def open_metrics(
    names: Sequence[str],
    *,
    device: str = "cpu",
    weights: Path | None = None,
    side: int | None = None,
    have_references: bool = True,
) -> Metrics:
    """Load the named metrics; with references, also PSNR and SSIM on Y.

    Args:
        names: names in `METRICS`; `fid-ffhq` stands for the variant of the images' side.
        device: torch device.
        weights: folder of `--metric-weights`.
        side: side of the images in pixels if all are square and of one size; else None.
        have_references: whether there are ground truths.

    Raises:
        UsageError: a name is not a metric's, or a metric cannot be computed on the images.
        ElirError: packages or weights of metrics are missing; all of these metrics are named.
    """
    chosen = chosen_metrics(list(names), side=side, have_references=have_references)
    if weights is not None:
        check_folder(weights)
    image, folder = dict[str, ImageScore](), dict[str, FolderScore]()
    files: dict[str, str] = {}
    problems: list[ElirError] = []
    for metric in chosen:
        try:
            if metric.of == "folder":
                folder[metric.name] = open_folder_metric(metric.name, device=device)
                continue
            file = _file_of(metric, weights)
            image[metric.name] = _open(metric, weights if file else None, device)
            if file:
                files[metric.name] = file
        except ElirError as error:
            problems.append(error)
    if problems:
        usage = all(isinstance(problem, UsageError) for problem in problems)
        raise (UsageError if usage else ElirError)("; ".join(map(str, problems))) from problems[0]
    return Metrics(image=image, folder=folder, files=files)


def _file_of(metric: Metric, weights: Path | None) -> str | None:
    """Return the name of the metric's weights file in the user's folder; None: none is used."""
    if metric.file is None:
        return None
    if metric.computed != "file":  # pyiqa's own weights are used if there is no file
        return metric.file if weights is not None and has_weights(weights, metric.file) else None
    if weights is None:
        raise UsageError(
            f"metric {metric.name} needs {metric.file}",
            fix="pass the folder that holds it by --metric-weights",
        )
    return metric.file


def _open(metric: Metric, weights: Path | None, device: str) -> ImageScore:
    if metric.computed == "here":
        return _OWN_METRICS[metric.name]
    if weights is not None:
        return open_file_metric(metric.name, weights, device)
    return open_image_metric(metric.name, device=device)


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The result of an evaluation.

    The columns are `input` (the network's input, enlarged by the task's factor) and `restored`.

    Attributes:
        names: names of the images.
        images: the score of every image, by column and metric.
        folders: the score of all images together, by column and metric.
        samples: rows of uint8 images in the order of `SAMPLE_LABELS`; without ground truths, a row
            has only the first two.
        files: see `Metrics`.
    """

    names: tuple[str, ...]
    images: dict[str, dict[str, list[float]]]
    folders: dict[str, dict[str, float]]
    samples: list[list[NDArray[np.uint8]]]
    files: Mapping[str, str] = field(default_factory=dict)

    def summary(self) -> dict[str, dict[str, float]]:
        """Return, by metric, each column's mean and the worst and best of the restored images."""
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
    return METRICS[metric].lower_better


def evaluate(
    examples: Examples,
    restore: RestoreFunction,
    metrics: Metrics,
    progress: EvaluationProgress = lambda done: None,
) -> Evaluation:
    """Restore and score all examples, one at a time.

    Args:
        examples: the images to restore.
        restore: see `RestoreFunction`.
        metrics: see `open_metrics`.
        progress: called with the number of examples done.

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
            reference = example.reference
            for column, image in columns.items():
                # Without ground truths, all open metrics ignore the second argument.
                compared = image if reference is None else reference
                for name, score in metrics.image.items():
                    images[column][name].append(score(image, compared))
            row = [to_uint8(image) for image in columns.values()]
            row += [] if reference is None else [to_uint8(reference)]
            if metrics.folder:
                _keep(Path(scratch), index, row)
            if index in shown:
                samples.append(row)
            progress(index + 1)
        folders = {
            column: {
                name: score(Path(scratch, column), Path(scratch, GROUND_TRUTH))
                for name, score in metrics.folder.items()
            }
            for column in COLUMNS
        }
    return Evaluation(
        names=examples.names, images=images, folders=folders, samples=samples, files=metrics.files
    )


def _keep(folder: Path, index: int, row: Sequence[NDArray[np.uint8]]) -> None:
    for label, image in zip(SAMPLE_LABELS[: len(row)], row, strict=True):
        (folder / label).mkdir(exist_ok=True)
        Image.fromarray(image).save(folder / label / f"{index:06d}.png", compress_level=1)


def finite(value: Any) -> Any:
    """Return the value with None in place of numbers that JSON cannot represent (inf, nan)."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite(each) for key, each in value.items()}
    return [finite(each) for each in value] if isinstance(value, list | tuple) else value
