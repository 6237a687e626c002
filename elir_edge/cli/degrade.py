"""`elir-edge degrade`: show what a task's degradation does to photos."""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from PIL import Image

from elir_edge.errors import ElirError, UsageError
from elir_edge.files import refuse_among, replacing_file, replacing_folder
from elir_edge.pictures import grid
from elir_edge.tasks import TASKS, get_task

EPILOG = "Example: elir-edge degrade --task bsr photo.jpg --out bsr.png"
_MAX_ROWS = 16
PAIR_FOLDERS = ("degraded", "reference")


def degrade(
    photos: Annotated[Path, typer.Argument(help="A photo, or a folder of photos.")],
    task: Annotated[str, typer.Option(help=f"One of {', '.join(TASKS)}.")],
    out: Annotated[
        Path, typer.Option(help="Contact sheet of each photo and its degradations.")
    ] = Path("degraded.png"),
    degradation: Annotated[
        str | None, typer.Option(help="One of the task's degradations; default: its first.")
    ] = None,
    samples: Annotated[int, typer.Option(min=1, max=16, help="Samples per photo.")] = 5,
    crop: Annotated[int, typer.Option(min=32, help="Side of the central crop, pixels.")] = 256,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the samples.")] = 0,
    force: Annotated[
        bool, typer.Option("--force", help="Replace an existing sheet or folder of pairs.")
    ] = False,
    pairs: Annotated[
        Path | None,
        typer.Option(help="Folder for each photo's first sample, for `evaluate --reference`."),
    ] = None,
) -> None:
    """Write a contact sheet of photos and random samples of a task's degradation."""
    try:
        from elir_edge.data.datasets import centre_crop, list_images, read_rgb, to_float
        from elir_edge.data.degradations import degradation_name, low_resolution
        from elir_edge.data.operations import to_uint8
    except ModuleNotFoundError as error:
        raise ElirError(
            f"degrading needs {error.name}, which is not installed",
            fix="install the `train` extra; in a checkout, `make train` does",
        ) from error
    chosen = degradation_name(get_task(task).name, degradation)
    if not photos.exists():
        raise UsageError(f"no photo or folder {photos}", fix="check the path")
    if crop % get_task(task).upscale:
        raise UsageError(
            f"a crop of {crop} cannot be reduced for {task}",
            expected=f"a multiple of {get_task(task).upscale}",
        )
    _check_sheet(out, photos, force)
    if pairs is not None:
        _check_pairs(pairs, photos, force)
    paths = list_images(photos) if photos.is_dir() else [photos]

    def degraded(clean: NDArray[np.uint8], index: int, draw: int) -> NDArray[np.uint8]:
        rng = np.random.default_rng([seed, index, draw])
        return to_uint8(low_resolution(task, to_float(clean), rng, chosen))

    rows = []
    for index, path in enumerate(paths[:_MAX_ROWS]):
        clean = centre_crop(read_rgb(path), crop)
        rows.append([clean, *(degraded(clean, index, k) for k in range(samples))])
    labels = ["clean", *(f"{chosen} {k}" for k in range(samples))]
    with replacing_file(out) as temporary:
        grid(rows, labels).save(temporary, "PNG")
    shown = f" (the first {_MAX_ROWS} of {len(paths)} photos)" if len(paths) > _MAX_ROWS else ""
    print(f"contact sheet {out}, {task}, degradation {chosen}{shown}")
    if pairs is None:
        return
    with replacing_folder(pairs) as folder:
        for kind in PAIR_FOLDERS:
            (folder / kind).mkdir()
        for index, path in enumerate(paths):
            clean = centre_crop(read_rgb(path), crop)
            # Numbered, because photos of several folders may have the same name.
            name = f"{index:06d}-{path.stem}.png"
            Image.fromarray(degraded(clean, index, 0)).save(folder / "degraded" / name)
            Image.fromarray(clean).save(folder / "reference" / name)
    print(f"{len(paths)} pairs     {pairs / 'degraded'}, {pairs / 'reference'}")


def _check_sheet(out: Path, photos: Path, force: bool) -> None:
    """Refuse a contact sheet that would replace something else or lie among the photos."""
    if out.suffix.lower() != ".png" or out.is_dir():
        raise UsageError(f"a contact sheet cannot be written to {out}", expected="a .png file")
    refuse_among(out, photos, "--out")
    if out.exists() and not force:
        raise UsageError(f"{out} exists", fix="pass --force to replace it, or another --out")


def _check_pairs(pairs: Path, photos: Path, force: bool) -> None:
    """Refuse a folder that contains the photos, or anything but the pairs of an earlier run."""
    refuse_among(pairs, photos, "--pairs")
    if photos.resolve().is_relative_to(pairs.resolve()):
        raise UsageError(f"{pairs} contains the photos", fix="pass another --pairs")
    if not pairs.exists():
        return
    others = pairs.is_dir() and {path.name for path in pairs.iterdir()} - set(PAIR_FOLDERS)
    if not pairs.is_dir() or others:
        raise UsageError(
            f"{pairs} contains something other than pairs", fix="pass a --pairs that does not exist"
        )
    if not force:
        raise UsageError(f"{pairs} exists", fix="pass --force to replace it, or another --pairs")
