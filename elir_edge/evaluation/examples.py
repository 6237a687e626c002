"""Images to evaluate on: photos that are degraded here, image pairs, or degraded images alone."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from elir_edge.data.datasets import centre_crop, list_images, read_rgb, to_float
from elir_edge.data.degradations import degradation_name, low_resolution
from elir_edge.data.operations import FloatImage, resize
from elir_edge.errors import DataError, UsageError
from elir_edge.tasks import Task, get_task

DEFAULT_SEED = 1
"""Seed of the degradations, as in the validation of training and in `benchmarks/quality.py`."""


@dataclass(frozen=True, kw_only=True)
class Example:
    """An image to restore and its ground truth, float32 in [0, 1].

    Attributes:
        name: name of its file, relative to the folder.
        given: the image that a user has, (H / u, W / u, 3) for a task that enlarges by u.
        reference: the ground truth, (H, W, 3); None: unknown.
    """

    name: str
    given: FloatImage
    reference: FloatImage | None


@dataclass(frozen=True, kw_only=True)
class Examples:
    """A list of examples that are loaded one at a time.

    Attributes:
        task: the task that the images were degraded for.
        names: the name of each example.
        load: loads the example of an index.
        source: where the examples come from, for the report.
        side: side of the restored images if all are square and of one size; else None.
    """

    task: Task
    names: tuple[str, ...]
    load: Callable[[int], Example]
    source: dict[str, Any]
    side: int | None = None

    def __len__(self) -> int:
        """Return the number of examples."""
        return len(self.names)


def photo_examples(
    task: str,
    folder: Path,
    *,
    crop: int | None = None,
    seed: int = DEFAULT_SEED,
    limit: int | None = None,
    degradation: str | None = None,
) -> Examples:
    """Return central crops of photos, degraded; photo i by a generator seeded with [seed, i].

    Args:
        task: the task whose degradation is applied.
        folder: folder of photos, searched recursively and sorted.
        crop: side of the central crop in pixels; None: the task's image size.
        seed: seed of the degradations.
        limit: use only this many photos, from the first; None: all.
        degradation: name of one of the task's degradations; None: its default.

    Raises:
        DataError: the folder holds no photos.
        UsageError: the crop is not a multiple of the task's factor, or there is no such task or
            degradation.
    """
    properties = get_task(task)
    degradation = degradation_name(task, degradation)
    size = properties.image_size if crop is None else crop
    if size % properties.upscale:
        raise UsageError(
            f"a crop of {size} cannot be reduced for {task}",
            expected=f"a multiple of {properties.upscale}",
        )
    paths = list_images(folder)[:limit]

    def load(index: int) -> Example:
        reference = to_float(centre_crop(read_rgb(paths[index]), size))
        given = low_resolution(task, reference, np.random.default_rng([seed, index]), degradation)
        return Example(name=names[index], given=given, reference=reference)

    names = _names(paths, folder)
    source = {
        "kind": "photos",
        "crop": size,
        "degradation": degradation,
        "degradation_seed": seed,
    }
    return Examples(task=properties, names=names, load=load, source=source, side=size)


def pair_examples(
    task: str, folder: Path, references: Path, *, limit: int | None = None
) -> Examples:
    """Pair degraded images with ground truths by file name, ignoring the suffix.

    Raises:
        DataError: a folder holds no images, or a name is in one folder only or twice in one.
    """
    given, wanted = (_by_name(each) for each in (folder, references))
    lonely = [str(given[name]) for name in sorted(given.keys() - wanted.keys())]
    lonely += [str(wanted[name]) for name in sorted(wanted.keys() - given.keys())]
    if lonely:
        raise DataError(
            f"{len(lonely)} images have no partner of the same name in {folder} and {references}",
            got=_abbreviate(lonely),
            fix="name both images of a pair alike",
        )
    names = tuple(sorted(given))[:limit]
    properties = get_task(task)

    def load(index: int) -> Example:
        name = names[index]
        example = Example(
            name=name,
            given=to_float(read_rgb(given[name])),
            reference=to_float(read_rgb(wanted[name])),
        )
        _check_sizes(example, properties, given[name], wanted[name])
        return example

    side = _common_side([wanted[name] for name in names])
    source = {"kind": "pairs"}
    return Examples(task=properties, names=names, load=load, source=source, side=side)


def lone_examples(task: str, folder: Path, *, limit: int | None = None) -> Examples:
    """Return images that are degraded already, of any size, without ground truths.

    Raises:
        DataError: the folder holds no images.
    """
    properties = get_task(task)
    paths = list_images(folder)[:limit]
    names = _names(paths, folder)

    def load(index: int) -> Example:
        return Example(name=names[index], given=to_float(read_rgb(paths[index])), reference=None)

    side = _common_side(paths)
    return Examples(
        task=properties,
        names=names,
        load=load,
        source={"kind": "images without reference"},
        side=None if side is None else side * properties.upscale,
    )


def network_input(example: Example, task: Task) -> FloatImage:
    """Return the given image enlarged by the task's factor and filter."""
    height, width = (side * task.upscale for side in example.given.shape[:2])
    return resize(example.given, height, width, task.upscale_filter)


def _common_side(paths: Sequence[Path]) -> int | None:
    """Return the side of the images if all are square and of one size; read headers only."""
    sizes = set()
    for path in paths:
        try:
            with Image.open(path) as image:
                sizes.add(image.size)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            return None  # loading the image later reports the error
        if len(sizes) > 1:
            return None
    width, height = sizes.pop()
    return width if width == height else None


def _by_name(folder: Path) -> dict[str, Path]:
    paths = list_images(folder)
    found: dict[str, Path] = {}
    for path in paths:
        name = path.relative_to(folder).with_suffix("").as_posix()
        if name in found:
            raise DataError(f"{found[name]} and {path} have the same name", fix="remove one")
        found[name] = path
    return found


def _check_sizes(example: Example, task: Task, given: Path, wanted: Path) -> None:
    height, width = (side * task.upscale for side in example.given.shape[:2])
    assert example.reference is not None
    if example.reference.shape != (height, width, 3):
        raise DataError(
            f"{wanted} is not of the size that {given} is restored to",
            got=f"{example.reference.shape[1]} x {example.reference.shape[0]}",
            expected=f"{width} x {height} ({task.upscale} times as large)",
        )


def _names(paths: Sequence[Path], folder: Path) -> tuple[str, ...]:
    return tuple(path.relative_to(folder).as_posix() for path in paths)


def _abbreviate(names: Sequence[str]) -> str:
    shown = ", ".join(names[:5])
    return shown + (f" and {len(names) - 5} more" if len(names) > 5 else "")
